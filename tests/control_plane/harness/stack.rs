//! One `pointsman serve`, one kube-scheduler that asks it, and the webhook configuration that sends it the pods of the
//! stack's namespaces.
//!
//! Most tests share the stack of [`shared`]; those that stop or kill the program have their own. [`without_extender`]
//! is the proof that a test can fail: the same webhook, and a scheduler that was never told of the extender.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::{Request, Response};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::api::{MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS};
use super::base64;
use super::certs::Authority;
use super::clock::Clock;
use super::http;
use super::plane::{self, ControlPlane, OUR_NAMESPACE, START, TEST_USER};
use super::ports;
use super::process::{Process, Program, Restartable};
use super::run_folder::tail;
use super::scheduler::{self, Scheduling};
use super::tls;
use super::wait::{eventually, expect};

/// The resource names of all tests that share a stack: a scheduler reads its extender's once, at its start.
const TESTS: &[&str] = &["t1", "t3", "t2x", "t3x", "t4x", "t5x"];

static SHARED: OnceCell<Stack> = OnceCell::const_new();
static WITHOUT_EXTENDER: OnceCell<Stack> = OnceCell::const_new();

pub(crate) async fn shared() -> &'static Stack {
    SHARED
        .get_or_init(async || Setup::new("shared", TESTS).start(plane::shared().await).await)
        .await
}

pub(crate) async fn without_extender() -> &'static Stack {
    let setup = || Setup::new("no-extender", TESTS).asks(Asks::Nobody);
    WITHOUT_EXTENDER
        .get_or_init(async || setup().start(plane::shared().await).await)
        .await
}

/// Whom the scheduler of a stack asks.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Asks {
    Us,
    Nobody,
}

/// The three listeners of the program.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) webhook: u16,
    pub(crate) extender: u16,
    pub(crate) admin: u16,
}

impl Ports {
    pub(crate) fn free() -> Self {
        Self {
            webhook: ports::free(),
            extender: ports::free(),
            admin: ports::free(),
        }
    }
}

/// Where the program has its certificate from.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Certificate {
    /// A folder that the harness fills, with the authority of the run.
    Folder,
    /// Made by the program itself: its authority in a Secret, both with lives so short that a test sees them renewed.
    OfItsOwn,
}

/// How a stack is to be started.
pub(crate) struct Setup<'a> {
    name: &'a str,
    tests: &'a [&'a str],
    asks: Asks,
    certificate: Certificate,
    scheduling: Scheduling,
    ports: Ports,
    called: Ports,
    kubeconfig: Option<PathBuf>,
    settings: Value,
    stands_by: Option<&'a str>,
    clock: Option<Clock>,
}

impl<'a> Setup<'a> {
    /// `name` becomes the scheduler's name too. `tests` are the prefixes of the resources that the extender manages.
    pub(crate) fn new(name: &'a str, tests: &'a [&'a str]) -> Self {
        let ports = Ports::free();
        Self {
            name,
            tests,
            asks: Asks::Us,
            certificate: Certificate::Folder,
            scheduling: Scheduling::default(),
            ports,
            called: ports,
            kubeconfig: None,
            settings: json!({}),
            stands_by: None,
            clock: None,
        }
    }

    /// Another pair of scheduler and program beside the stack of this name, for the same pods.
    pub(crate) fn stands_by(self, stack: &'a str) -> Self {
        let stands_by = Some(stack);
        Self { stands_by, ..self }
    }

    pub(crate) fn asks(self, asks: Asks) -> Self {
        Self { asks, ..self }
    }

    pub(crate) fn certificate(self, certificate: Certificate) -> Self {
        Self { certificate, ..self }
    }

    pub(crate) fn scheduling(self, scheduling: Scheduling) -> Self {
        Self { scheduling, ..self }
    }

    /// The program comes to the API server by this file.
    pub(crate) fn kubeconfig(self, kubeconfig: PathBuf) -> Self {
        let kubeconfig = Some(kubeconfig);
        Self { kubeconfig, ..self }
    }

    /// More of the program's configuration: these fields of the file.
    pub(crate) fn settings(self, settings: Value) -> Self {
        Self { settings, ..self }
    }

    /// The program has a clock of its own.
    pub(crate) fn clock(self, clock: Option<Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Puts something in between: the program listens on `ports`, the cluster calls it on `called`.
    pub(crate) fn behind(self, ports: Ports, called: Ports) -> Self {
        Self {
            ports,
            called,
            ..self
        }
    }

    /// Starts the scheduler and the program, and waits until the latter is ready.
    pub(crate) async fn start(self, plane: &'static ControlPlane) -> Stack {
        let extender = (self.asks == Asks::Us).then_some(self.called.extender);
        let serves = self.stands_by.unwrap_or(self.name);
        let stack = Stack {
            name: self.name.to_owned(),
            serves: serves.to_owned(),
            plane,
            ports: self.ports,
            certificate: self.certificate,
            binds: self.scheduling.binds,
            kubeconfig: self.kubeconfig.unwrap_or_else(|| plane.kubeconfig(TEST_USER)),
            settings: self.settings,
            clock: self.clock,
            serve: Mutex::new(None),
            scheduler: scheduler::start(plane, self.name, serves, self.tests, extender, &self.scheduling)
                .await,
        };
        if self.certificate == Certificate::Folder {
            write_certificate(plane, self.name, &plane.authority);
        }
        if self.stands_by.is_none() {
            stack.create_webhook_configurations(self.called.webhook).await;
        }
        stack.serve().await;
        stack
    }
}

pub(crate) struct Stack {
    name: String,
    /// The scheduler's and the webhook configuration's name.
    serves: String,
    plane: &'static ControlPlane,
    ports: Ports,
    certificate: Certificate,
    binds: bool,
    kubeconfig: PathBuf,
    settings: Value,
    pub(crate) clock: Option<Clock>,
    serve: Mutex<Option<Process>>,
    pub(crate) scheduler: Restartable,
}

impl Stack {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn plane(&self) -> &'static ControlPlane {
        self.plane
    }

    pub(crate) fn webhook_port(&self) -> u16 {
        self.ports.webhook
    }

    /// Starts the program, and leaves it to itself.
    pub(crate) fn launch(&self) {
        *self.serve.lock().unwrap() = Some(self.program().start(self.plane.run.log(&self.log_name())));
    }

    /// Starts the program, and waits until it says that it is ready.
    pub(crate) async fn serve(&self) {
        self.launch();
        eventually(
            &format!("pointsman serve of {} is ready", self.name),
            START,
            async || {
                let runs = self.serve.lock().unwrap().as_mut().is_some_and(Process::runs);
                assert!(
                    runs,
                    "pointsman serve ended:\n{}",
                    tail(&self.plane.run.log(&self.log_name()), 20)
                );
                self.get("/readyz").await.map(|_| ())
            },
        )
        .await;
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(&self) {
        self.end("KILL").await;
    }

    /// The way a cluster stops it.
    pub(crate) async fn terminate(&self) -> Option<i32> {
        self.end("TERM").await
    }

    /// Sends the program a signal that it outlives.
    pub(crate) fn signal(&self, signal: &str) {
        self.serve.lock().unwrap().as_ref().unwrap().signal(signal);
    }

    async fn end(&self, signal: &str) -> Option<i32> {
        let mut process = self.serve.lock().unwrap().take().unwrap();
        process.signal(signal);
        process.ended(Duration::from_mins(1)).await
    }

    /// One of the program's counters, summed over all label sets that contain each of `labels`, written as `key="value"`.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.get("/metrics").await.unwrap();
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (set, value) = rest.rsplit_once(' ')?;
            let ours = set.is_empty() || set.starts_with('{');
            (ours && labels.iter().all(|label| set.contains(label))).then(|| value.parse::<f64>().unwrap())
        });
        samples.sum()
    }

    /// Nothing changes for so many waiting pods, so asking again would be for nothing: kube-scheduler asks once more
    /// after it has written down the refusal, and then no more. Other tests make and delete nodes and pods meanwhile,
    /// and each of those wakes every pod that waits; so one quiet spell of ten seconds must come. A text that varies
    /// would never allow one.
    pub(crate) async fn costs_at_most_two_calls(&self, waiting: usize) {
        let spell = Duration::from_secs(10);
        let calls = async || {
            self.metric("pointsman_extender_requests_total", &["verb=\"filter\""])
                .await
        };
        let most = 2.0 * f64::from(u32::try_from(waiting).unwrap());
        let (mut since, mut before) = (Instant::now(), calls().await);
        eventually(
            "waiting pods cost at most two filter calls each in ten seconds",
            Duration::from_mins(3),
            async || {
                let asked = calls().await - before;
                if asked > most {
                    (since, before) = (Instant::now(), before + asked);
                }
                expect(since.elapsed() >= spell, || {
                    format!("{asked} calls in {:?}", since.elapsed())
                })
            },
        )
        .await;
    }

    /// `GET` on the admin listener.
    pub(crate) async fn get(&self, path: &str) -> Result<String, String> {
        let answer = self.answer(path).await?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        if answer.status().is_success() {
            Ok(text)
        } else {
            Err(format!("{}: {text}", answer.status()))
        }
    }

    /// What time it is by the program's clock.
    pub(crate) async fn time(&self) -> Result<Timestamp, String> {
        let answer = self.answer("/healthz").await?;
        let date = answer.headers().get("date").ok_or("an answer has no date")?;
        let date = jiff::fmt::rfc2822::parse(date.to_str().unwrap());
        date.map(|date| date.timestamp())
            .map_err(|error| error.to_string())
    }

    async fn answer(&self, path: &str) -> Result<Response<Bytes>, String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.admin)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let request = Request::get(path)
            .header("Host", "127.0.0.1")
            .body(Bytes::new())
            .unwrap();
        http::send(stream, request).await
    }

    /// Posts an admission review straight to the program.
    pub(crate) async fn review(&self, path: &str, review: &Value) -> Value {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.webhook))
            .await
            .unwrap();
        let stream = tls::connect(self.plane.authority.certificate(), stream)
            .await
            .unwrap();
        let request = Request::post(path)
            .header("Host", "127.0.0.1")
            .header("Content-Type", "application/json");
        let request = request.body(Bytes::from(review.to_string())).unwrap();
        let answer = http::send(stream, request).await.unwrap();
        serde_json::from_slice(answer.body()).unwrap()
    }

    pub(crate) fn logs(&self) -> [PathBuf; 2] {
        [self.plane.run.log(&self.log_name()), self.scheduler.log()]
    }

    /// Where the program reads its certificate.
    fn tls_folder(&self) -> PathBuf {
        self.plane.run.path().join(&self.name).join("tls")
    }

    fn log_name(&self) -> String {
        format!("pointsman-{}", self.name)
    }

    fn program(&self) -> Program {
        let mut configuration = json!({
            "apiVersion": "config.pointsman.io/v1alpha1",
            "kind": "Configuration",
            "scheduler": {"mode": "dedicated", "name": self.serves, "bind": self.binds},
            "webhook": {"configurationName": self.serves},
            "certificate": match self.certificate {
                Certificate::Folder => json!({}),
                Certificate::OfItsOwn => json!({"lifetime": "12s", "caLifetime": "36s"}),
            },
        });
        for (field, value) in self.settings.as_object().unwrap() {
            configuration[field] = value.clone();
        }
        let certificate = match self.certificate {
            Certificate::Folder => format!("--tls-dir={}", self.tls_folder().display()),
            Certificate::OfItsOwn => format!("--self-signed-secret={OUR_NAMESPACE}/{}", self.name),
        };
        let configuration = self
            .plane
            .run
            .write(&format!("{}/config.yaml", self.name), configuration.to_string());
        let program = match &self.clock {
            None => Program::new("pointsman", &our_binary()),
            Some(clock) => clock.program("pointsman", &our_binary()),
        };
        program
            .arg("serve")
            .arg(format!("--webhook-listen=127.0.0.1:{}", self.ports.webhook))
            .arg(format!("--extender-listen=127.0.0.1:{}", self.ports.extender))
            .arg(format!("--admin-listen=127.0.0.1:{}", self.ports.admin))
            .arg(certificate)
            .arg(format!("--config={}", configuration.display()))
            .env("KUBECONFIG", self.kubeconfig.display().to_string())
    }

    /// The configurations that `manifests/` ships, pointed at this stack's program and narrowed to its namespaces.
    async fn create_webhook_configurations(&self, port: u16) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/webhook.yaml");
        let objects: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
        let authority = base64::encode(self.plane.authority.certificate().as_bytes());
        for (kind, at) in [
            ("MutatingWebhookConfiguration", MUTATING_WEBHOOKS),
            ("ValidatingWebhookConfiguration", VALIDATING_WEBHOOKS),
        ] {
            let shipped = objects.iter().find(|object| object["kind"] == kind);
            let mut configuration = shipped
                .unwrap_or_else(|| panic!("manifests/webhook.yaml has no {kind}"))
                .clone();
            configuration["metadata"]["name"] = json!(self.name);
            for webhook in configuration["webhooks"].as_array_mut().unwrap() {
                let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
                webhook["clientConfig"] = json!({"url": format!("https://127.0.0.1:{port}{path}")});
                if self.certificate == Certificate::Folder {
                    webhook["clientConfig"]["caBundle"] = json!(authority);
                }
                webhook["namespaceSelector"]["matchLabels"]["pointsman-test/stack"] = json!(self.name);
            }
            self.plane.api.create(&at.all(), configuration).await.unwrap();
        }
    }
}

/// Puts a new leaf into the stack's certificate folder, as a kubelet does for a mounted Secret: the files are links
/// through `..data`, and `..data` is replaced in one step.
pub(crate) fn write_certificate(plane: &ControlPlane, stack: &str, authority: &Authority) {
    let leaf = authority.leaf();
    let folder = plane.run.path().join(stack).join("tls");
    let version = format!("..{}", ports::free());
    plane
        .run
        .write(&format!("{stack}/tls/{version}/tls.crt"), leaf.certificate);
    plane
        .run
        .write(&format!("{stack}/tls/{version}/tls.key"), leaf.key);
    let next = folder.join("..data_tmp");
    std::os::unix::fs::symlink(&version, &next).unwrap();
    fs::rename(&next, folder.join("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        // They exist from the first time on.
        let _ = std::os::unix::fs::symlink(format!("..data/{file}"), folder.join(file));
    }
}

/// The program under test. Cargo names it to tests, not to examples; those lie in a folder beside it.
pub(crate) fn our_binary() -> PathBuf {
    let beside = || {
        std::env::current_exe()
            .unwrap()
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("pointsman")
    };
    option_env!("CARGO_BIN_EXE_pointsman").map_or_else(beside, PathBuf::from)
}
