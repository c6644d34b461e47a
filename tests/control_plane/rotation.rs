//! Contract 6: certificates change under load, and nobody notices.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::harness::api::MUTATING_WEBHOOKS;
use crate::harness::certs::Authority;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::scene::Scene;
use crate::harness::stack::{Asks, Certificate, Setup, Stack, write_certificate};
use crate::harness::wait::{eventually, expect};
use crate::harness::{base64, plane, run, tls};

const LIMIT: Duration = Duration::from_mins(2);
const ROTATIONS: usize = 3;
const CLIENTS: usize = 4;

/// Between two admissions of one client: enough for others to have the machine as well.
const PAUSE: Duration = Duration::from_millis(50);

#[test]
fn certificates_rotate_under_load_without_one_failed_admission() {
    run(async {
        let plane = plane::shared().await;
        let stack = Setup::new("t6-own", &["t6"])
            .asks(Asks::Nobody)
            .start(plane)
            .await;
        let (scene, profile) = open(&stack, "t6-load", 60).await;
        let authority = plane.authority.certificate();

        under_load(&scene, &profile, async |admitted| {
            let mut seen = BTreeSet::from([shown(&stack, authority).await.unwrap()]);
            for rotation in 1..=ROTATIONS {
                write_certificate(plane, stack.name(), &plane.authority);
                eventually("the new certificate is shown", LIMIT, async || {
                    seen.insert(shown(&stack, authority).await?);
                    expect(seen.len() == rotation + 1, || "the old one".to_owned())
                })
                .await;
                admissions_go_on(admitted).await;
            }
        })
        .await;

        // That a certificate can fail an admission at all: one of an authority that the API server does not know does.
        write_certificate(plane, stack.name(), &Authority::new("a stranger"));
        // Only a new connection shakes hands again, and the API server keeps its own.
        stack.terminate().await;
        stack.serve().await;
        eventually(
            "the API server refuses a stranger's certificate",
            LIMIT,
            async || {
                let created = scene
                    .api()
                    .create(&scene.pods_at().dry_run(), pod_of("refused", profile.name()))
                    .await;
                let message = created.err().map_or_else(String::new, |refused| refused.message);
                expect(message.contains("x509"), || format!("refused with {message:?}"))
            },
        )
        .await;
    });
}

#[test]
fn an_authority_of_our_own_is_renewed_under_load_without_one_failed_admission() {
    run(async {
        let plane = plane::shared().await;
        let setup = Setup::new("t6-self", &["t6"])
            .asks(Asks::Nobody)
            .certificate(Certificate::OfItsOwn);
        let stack = setup.start(plane).await;
        let (scene, profile) = open(&stack, "t6-self", 61).await;

        under_load(&scene, &profile, async |admitted| {
            let (mut authorities, mut leaves) = (BTreeSet::new(), BTreeSet::new());
            eventually(
                "the authority and the certificate are renewed",
                LIMIT,
                async || {
                    let bundle = bundle(&stack).await;
                    leaves.insert(shown(&stack, &bundle).await?);
                    authorities.insert(bundle);
                    let count = (authorities.len(), leaves.len());
                    // One authority may be in two bundles, alone and beside its successor.
                    expect(count.0 > 3 && count.1 > ROTATIONS, || {
                        format!("{count:?} bundles and leaves")
                    })
                },
            )
            .await;
            admissions_go_on(admitted).await;
        })
        .await;
        scene.close().await;
    });
}

async fn open<'a>(stack: &'a Stack, name: &str, octet: u8) -> (Scene<'a>, Profile) {
    let scene = Scene::open(stack, name).await;
    let profile = Profile::new(name, "t6", octet);
    profile.create(scene.plane, &scene.namespace).await;
    eventually("the first pod is admitted", LIMIT, async || {
        let created = scene
            .api()
            .create(&scene.pods_at().dry_run(), pod_of("first", profile.name()))
            .await;
        created.map_err(|refused| refused.message)
    })
    .await;
    (scene, profile)
}

/// Several clients have pods admitted one after the other, for as long as `during` takes. None may fail.
async fn under_load(scene: &Scene<'_>, profile: &Profile, during: impl AsyncFnOnce(&AtomicUsize)) {
    let (over, admitted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = async |client: usize| {
        while !over.load(Ordering::Relaxed) {
            let name = format!("load-{client}");
            let created = scene
                .api()
                .create(&scene.pods_at().dry_run(), pod_of(&name, profile.name()))
                .await;
            created.expect("an admission failed");
            admitted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    };
    let change = async {
        during(&admitted).await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(change, join_all((0..CLIENTS).map(client)));
}

async fn admissions_go_on(admitted: &AtomicUsize) {
    let before = admitted.load(Ordering::Relaxed);
    eventually("admissions go on", LIMIT, async || {
        let now = admitted.load(Ordering::Relaxed) - before;
        expect(now > 20, || format!("{now} since"))
    })
    .await;
}

/// The certificate that a new connection is shown, as its bytes.
async fn shown(stack: &Stack, authority: &str) -> Result<Vec<u8>, String> {
    let stream = TcpStream::connect(("127.0.0.1", stack.webhook_port()))
        .await
        .map_err(|error| error.to_string())?;
    let stream = tls::connect(authority, stream).await?;
    let (_, connection) = stream.get_ref();
    Ok(connection.peer_certificates().unwrap()[0].to_vec())
}

/// Whom the API server trusts.
async fn bundle(stack: &Stack) -> String {
    let configuration: Value = stack
        .plane()
        .api
        .get(&MUTATING_WEBHOOKS.all().named(stack.name()))
        .await
        .unwrap();
    let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"]
        .as_str()
        .unwrap();
    String::from_utf8(base64::decode(bundle)).unwrap()
}
