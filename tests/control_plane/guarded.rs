//! `--admin-auth apiserver` with a real API server: who may look is what RBAC says, and the chart's binding is what it takes
//! to ask.

use std::time::Duration;

use axum::http::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::harness::api::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS};
use crate::harness::plane::{self, EXTENDER_USER, OUR_NAMESPACE, TEST_USER, token};
use crate::harness::process::Program;
use crate::harness::run_folder::tail;
use crate::harness::stack::our_binary;
use crate::harness::wait::{eventually, expect};
use crate::harness::{http, ports, run};
use crate::install::rendered;

const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn only_users_whom_the_api_server_lets_look_see_the_page() {
    run(async {
        let plane = plane::shared().await;
        // Beside an existing scheduler it is nobody but itself: kube-scheduler's own rights would do for asking.
        let set = "scheduler.mode=existing,admin.auth=apiserver,admin.certificateSecret=admin-tls";
        let objects = rendered(plane, set);
        let (asking, placing): (Vec<Value>, Vec<Value>) = objects
            .into_iter()
            .filter(|object| object["metadata"]["name"] != "pointsman-webhook")
            .partition(|object| {
                ["pointsman-auth-delegator", "pointsman-viewer"]
                    .map(Value::from)
                    .contains(&object["metadata"]["name"])
            });
        for mut binding in placing {
            let at = match binding["kind"].as_str() {
                Some("ClusterRoleBinding") => CLUSTER_ROLE_BINDINGS.all(),
                Some("RoleBinding") => ROLE_BINDINGS.within(OUR_NAMESPACE),
                _ => continue,
            };
            // The other mode's has the same name; the roles are the same.
            binding["metadata"]["name"] = json!(format!(
                "guarded-{}",
                binding["roleRef"]["name"].as_str().unwrap()
            ));
            plane.api.create(&at, binding).await.unwrap();
        }
        let [extender, admin] = [ports::free(), ports::free()];
        let log = plane.run.log("guarded");
        let mut process = Program::new("guarded", &our_binary())
            .args(["serve", "--webhook-listen=none", "--admin-auth=apiserver"])
            .arg(format!("--extender-listen=127.0.0.1:{extender}"))
            .arg(format!("--admin-listen=127.0.0.1:{admin}"))
            .env(
                "KUBECONFIG",
                plane.kubeconfig(EXTENDER_USER).display().to_string(),
            )
            .start(log.clone());
        eventually("the extender is ready", LIMIT, async || {
            assert!(process.runs(), "it ended:\n{}", tail(&log, 20));
            let code = status(admin, "/readyz", None).await?;
            expect(code == 200, || code.to_string())
        })
        .await;
        let sees = |what: &'static str, user: Option<&'static str>, code: u16| async move {
            let token = user.map(token);
            eventually(what, LIMIT, async || {
                let seen = status(admin, "/state", token.as_deref()).await?;
                expect(seen == code, || seen.to_string())
            })
            .await;
        };

        sees("without a token there is nothing to see", None, 401).await;
        sees(
            "without the right to ask, nobody sees anything",
            Some("admin"),
            503,
        )
        .await;
        for object in asking {
            let at = match object["kind"].as_str() {
                Some("ClusterRoleBinding") => CLUSTER_ROLE_BINDINGS.all(),
                _ => CLUSTER_ROLES.all(),
            };
            plane.api.create(&at, object).await.unwrap();
        }
        sees("who may everything may look", Some("admin"), 200).await;
        sees("nobody knows this token", Some("somebody"), 401).await;
        sees("a user whom nobody has let", Some(TEST_USER), 403).await;

        let viewer = json!({
            "metadata": {"name": "guarded-viewer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pointsman-viewer"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": TEST_USER}],
        });
        let bindings = CLUSTER_ROLE_BINDINGS.all();
        plane.api.create(&bindings, viewer).await.unwrap();
        sees("a viewer", Some(TEST_USER), 200).await;
        // What is taken away is gone at once.
        plane.api.delete(&bindings.named("guarded-viewer")).await.unwrap();
        sees("a viewer no more", Some(TEST_USER), 403).await;
        for path in ["/", "/livez", "/metrics"] {
            assert_eq!(status(admin, path, None).await, Ok(200), "{path} is open");
        }
        plane
            .api
            .delete(&bindings.named("pointsman-auth-delegator"))
            .await
            .unwrap();
    });
}

async fn status(port: u16, path: &str, token: Option<&str>) -> Result<u16, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let mut request = Request::get(path).header("Host", "127.0.0.1");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let answer = http::send(stream, request.body(Bytes::new()).unwrap()).await?;
    Ok(answer.status().as_u16())
}
