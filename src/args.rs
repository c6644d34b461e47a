//! The command line: flags as typed, then one checked value per subcommand.
//!
//! What leaves this module is usable as it stands: addresses are bound-able, a webhook has its certificate
//! source, nothing contradicts. Wrong usage ends with one clear sentence and exit code 2, before anything runs.

mod check;
mod explain;
mod scheduler_config;
mod simulate;
mod topology;

use core::net::SocketAddr;
use core::str::FromStr;
use core::time::Duration;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::duration;
use crate::serve::self_signed::SecretRef;
use crate::serve::shutdown::Timing;
use crate::telemetry::logging::{LogFormat, LogLevel};

pub use self::check::Checklist;
pub use self::explain::Explain;
pub use self::scheduler_config::{Mode, Notation, SchedulerConfig};
pub use self::simulate::{Format, Simulate};
pub use self::topology::{
    Check, Distance, Import, Look, MaybeDumps, NodeSources, Rails, Show, Sources, Topology, TopologyCommand,
    Watch, Writing,
};

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Run the webhook, the extender and the admin endpoint.
    Serve(Serve),
    /// Admit and place the pods in files.
    Simulate(Simulate),
    /// Work with dumps of the fabric.
    Topology(Topology),
    /// Print what makes a kube-scheduler ask the extender.
    SchedulerConfig(SchedulerConfig),
    /// Say why a pod waits or sits where it sits.
    Explain(Explain),
    /// Answer whether a cluster has what exclusive RDMA needs.
    Check(Checklist),
}

/// `pointsman serve`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Serve {
    /// Where the webhook listens and whose certificate it shows.
    pub webhook: Option<(SocketAddr, CertificateSource)>,
    /// Where the extender listens.
    pub extender: Option<SocketAddr>,
    /// Authorities of the clients that may call the webhook; anybody's where there is none.
    pub webhook_client_ca: Option<PathBuf>,
    /// The admin endpoint.
    pub admin: Option<Admin>,
    /// The configuration file; defaults without one.
    pub config: Option<PathBuf>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which of them are written.
    pub log_level: LogLevel,
    /// How the process ends.
    pub shutdown: Timing,
}

/// The admin endpoint of `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    /// Directory with `tls.crt` and `tls.key`; plain HTTP without one.
    pub tls: Option<PathBuf>,
    /// Who may see the page's numbers and explanations.
    pub auth: AdminAuth,
}

/// Who may see the page's numbers and explanations; probes and metrics are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AdminAuth {
    /// Whoever reaches the endpoint.
    #[default]
    None,
    /// Users whom the API server knows and lets `get` the nonResourceURL.
    Apiserver,
}

/// Where the webhook's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// `tls.crt` and `tls.key` in a directory, re-read when they change.
    Directory(PathBuf),
    /// A CA of our own in this Secret.
    SelfSigned(SecretRef),
}

/// The name under which kubectl finds us as its plugin `kubectl pointsman`.
const KUBECTL_PLUGIN: &str = "kubectl-pointsman";

/// Reads the process's arguments; prints help or the error and exits when that is what they come to.
#[must_use]
pub fn parse() -> Command {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads `arguments`, the program's name first.
///
/// # Errors
/// When they are wrong, or ask for help or the version.
pub fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let called = arguments.first().map(Path::new).and_then(Path::file_name);
    let command = if called.is_some_and(|name| name == KUBECTL_PLUGIN) {
        Typed::command().bin_name("kubectl pointsman")
    } else {
        Typed::command()
    };
    let Typed { command } = Typed::from_arg_matches(&command.try_get_matches_from(arguments)?)?;
    match command {
        TypedCommand::Simulate(flags) => Ok(Command::Simulate(flags)),
        TypedCommand::Topology(flags) => Ok(Command::Topology(flags)),
        TypedCommand::SchedulerConfig(flags) => Ok(Command::SchedulerConfig(flags)),
        TypedCommand::Explain(flags) => flags
            .checked()
            .map(Command::Explain)
            .map_err(|sentence| wrong_usage("explain", &sentence)),
        TypedCommand::Serve(flags) => flags
            .checked()
            .map(Command::Serve)
            .map_err(|sentence| wrong_usage("serve", &sentence)),
        TypedCommand::Check(flags) => Ok(Command::Check(flags)),
    }
}

/// Flags of a subcommand that mean nothing together, with the sentence that says why.
fn wrong_usage(subcommand: &str, sentence: &str) -> clap::Error {
    let mut root = Typed::command();
    root.build();
    let usage = root.find_subcommand_mut(subcommand);
    usage.map_or_else(
        || Typed::command().error(ErrorKind::ArgumentConflict, sentence),
        |subcommand| subcommand.error(ErrorKind::ArgumentConflict, sentence),
    )
}

/// Exclusive RDMA over InfiniBand SR-IOV for Kubernetes pods.
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, arg_required_else_help = true)]
struct Typed {
    #[command(subcommand)]
    command: TypedCommand,
}

#[derive(Debug, Subcommand)]
enum TypedCommand {
    /// Run the webhook, the extender and the admin endpoint.
    Serve(ServeFlags),
    /// Admit and place the pending pods in YAML files, without a cluster, through the code that `serve` runs.
    Simulate(Simulate),
    /// Dumps of the InfiniBand fabric: import them into node labels, look at them, check them.
    Topology(Topology),
    /// Print the KubeSchedulerConfiguration that fits this cluster.
    SchedulerConfig(SchedulerConfig),
    /// Say why a pod waits or sits where it sits, and what would let it run.
    Explain(Explain),
    /// Go through what exclusive RDMA needs, step by step: each yes, no or unknown, with evidence and remedy.
    Check(Checklist),
}

const SERVE_EXAMPLE: &str = "\
Examples:
  # In a Deployment: the webhook only, with a certificate of its own making
  pointsman serve --self-signed-secret pointsman/pointsman-ca --extender-listen none

  # Beside a kube-scheduler: the extender only, on loopback
  pointsman serve --webhook-listen none

  # Against the cluster of the current kubeconfig, from a terminal
  pointsman serve --tls-dir ./certs --config pointsman.yaml --log-format text --log-level debug";

#[derive(Debug, clap::Args)]
#[command(after_help = SERVE_EXAMPLE)]
struct ServeFlags {
    /// Address of the admission webhook (HTTPS), or `none`.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    webhook_listen: Listen,

    /// Address of the kube-scheduler extender (HTTP), or `none`. It has no authentication: keep it on loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8888")]
    extender_listen: Listen,

    /// Address of `/livez`, `/readyz` and `/metrics` (HTTP), or `none`.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    admin_listen: Listen,

    /// Directory with `tls.crt` and `tls.key` for the admin endpoint, re-read when they change; plain HTTP without.
    #[arg(long, value_name = "DIR")]
    admin_tls_dir: Option<PathBuf>,

    /// Who may see `/explain`, `/state` and `/debug/verify`: whoever reaches them, or users whom the API server knows (TokenReview) and
    /// lets `get` these nonResourceURLs (SubjectAccessReview). Probes, metrics and the empty page are always open.
    #[arg(long, value_enum, value_name = "WHO", default_value = "none")]
    admin_auth: AdminAuth,

    /// PEM file of authorities: callers of the webhook must show a certificate of one of them. Give kube-apiserver one
    /// with the `kubeConfigFile` of its AdmissionConfiguration. Read once, at start.
    #[arg(long, value_name = "FILE")]
    webhook_client_ca: Option<PathBuf>,

    /// Directory with `tls.crt` and `tls.key` for the webhook; re-read when they change.
    #[arg(long, value_name = "DIR", conflicts_with = "self_signed_secret")]
    tls_dir: Option<PathBuf>,

    /// Secret for a CA of our own: made when absent, shared by all replicas, renewed, and written as caBundle
    /// into the webhook configuration.
    #[arg(long, value_name = "NS/NAME")]
    self_signed_secret: Option<SecretRef>,

    /// Configuration file; every setting has a default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// How log lines look.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "json",
        env = "POINTSMAN_LOG_FORMAT"
    )]
    log_format: LogFormat,

    /// A level (`error`, `warn`, `info`, `debug`, `trace`) or a list such as `info,pointsman::extender=debug`.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "POINTSMAN_LOG_LEVEL"
    )]
    log_level: LogLevel,

    /// Time between "not ready" and refusing connections after SIGTERM, for endpoints to notice.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration_flag)]
    shutdown_delay: Duration,

    /// Time for requests under way after that; both together must stay below terminationGracePeriodSeconds.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration_flag)]
    shutdown_deadline: Duration,
}

/// A listener's address, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listen {
    At(SocketAddr),
    Nowhere,
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self::Nowhere);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| "expected IP:PORT, such as 0.0.0.0:8443 or [::]:8443, or none")
    }
}

impl Listen {
    fn address(self) -> Option<SocketAddr> {
        match self {
            Self::At(address) => Some(address),
            Self::Nowhere => None,
        }
    }
}

impl ServeFlags {
    /// What the flags mean together, or the sentence that says why they mean nothing.
    fn checked(self) -> Result<Serve, String> {
        let Self {
            webhook_listen,
            extender_listen,
            admin_listen,
            admin_tls_dir,
            admin_auth,
            webhook_client_ca,
            tls_dir,
            self_signed_secret,
            config,
            log_format,
            log_level,
            shutdown_delay,
            shutdown_deadline,
        } = self;
        let certificate = match (tls_dir, self_signed_secret) {
            (Some(directory), _) => Some(CertificateSource::Directory(directory)),
            (None, Some(secret)) => Some(CertificateSource::SelfSigned(secret)),
            (None, None) => None,
        };
        let webhook = match (webhook_listen.address(), certificate) {
            (Some(address), Some(certificate)) => Some((address, certificate)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(
                    "the webhook needs a certificate: give --tls-dir or --self-signed-secret, \
                     or switch it off with --webhook-listen none"
                        .to_owned(),
                );
            }
            (None, Some(_)) => {
                return Err(
                    "--tls-dir and --self-signed-secret are for the webhook, which --webhook-listen none \
                     switches off: leave one or the other out"
                        .to_owned(),
                );
            }
        };
        if webhook.is_none() && webhook_client_ca.is_some() {
            return Err(
                "--webhook-client-ca is for the webhook, which --webhook-listen none switches off: leave one or the \
                 other out"
                    .to_owned(),
            );
        }
        let admin = admin_listen.address().map(|address| Admin {
            address,
            tls: admin_tls_dir.clone(),
            auth: admin_auth,
        });
        match &admin {
            None if admin_tls_dir.is_some() || admin_auth != AdminAuth::None => {
                return Err(
                    "--admin-tls-dir and --admin-auth are for the admin endpoint, which --admin-listen none switches off"
                        .to_owned(),
                );
            }
            Some(Admin {
                address,
                tls: None,
                auth: AdminAuth::Apiserver,
            }) if !address.ip().is_loopback() => {
                return Err(
                    "--admin-auth apiserver takes bearer tokens, which must not travel in the clear: give \
                     --admin-tls-dir, or listen on loopback"
                        .to_owned(),
                );
            }
            _ => {}
        }
        let extender = extender_listen.address();
        if webhook.is_none() && extender.is_none() {
            return Err(
                "both the webhook and the extender are switched off, so there is nothing to serve".to_owned(),
            );
        }
        Ok(Serve {
            webhook,
            webhook_client_ca,
            extender,
            admin,
            config,
            log_format,
            log_level,
            shutdown: Timing {
                delay: shutdown_delay,
                deadline: shutdown_deadline,
            },
        })
    }
}

fn duration_flag(text: &str) -> Result<Duration, &'static str> {
    duration::parse(text).ok_or("expected whole numbers with the units d, h, m, s or ms, such as 20s")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn serve(flags: &str) -> Result<Serve, clap::Error> {
        let words = ["pointsman", "serve"].into_iter().chain(flags.split_whitespace());
        parse_from(words.map(OsString::from)).map(|command| match command {
            Command::Serve(serve) => serve,
            _ => panic!("not what was asked for"),
        })
    }

    #[test]
    fn defaults_are_those_of_the_design() {
        let serve = serve("--tls-dir /tls").unwrap();
        let (webhook, certificate) = serve.webhook.unwrap();
        assert_eq!(webhook.to_string(), "0.0.0.0:8443");
        assert_eq!(certificate, CertificateSource::Directory("/tls".into()));
        assert_eq!(serve.extender.unwrap().to_string(), "127.0.0.1:8888");
        assert_eq!(serve.admin.unwrap().address.to_string(), "0.0.0.0:8080");
        assert_eq!(serve.log_format, LogFormat::Json);
        assert_eq!(serve.config, None);
    }

    #[test]
    fn listeners_can_be_switched_off() {
        let serve = serve("--webhook-listen none --admin-listen none").unwrap();
        assert_eq!((serve.webhook, serve.admin), (None, None));
        assert!(serve.extender.is_some());
    }

    #[rstest]
    #[case::no_certificate("", "the webhook needs a certificate")]
    #[case::two_certificates("--tls-dir d --self-signed-secret a/b", "cannot be used with")]
    #[case::certificate_for_nothing("--tls-dir d --webhook-listen none", "which --webhook-listen none")]
    #[case::nothing_to_serve("--webhook-listen none --extender-listen none", "nothing to serve")]
    #[case::tokens_in_the_clear("--tls-dir d --admin-auth apiserver", "must not travel in the clear")]
    #[case::auth_for_nothing(
        "--tls-dir d --admin-listen none --admin-auth apiserver",
        "--admin-listen none"
    )]
    #[case::client_ca_for_nothing("--webhook-listen none --webhook-client-ca f", "--webhook-listen none")]
    #[case::port_only("--tls-dir d --webhook-listen :8443", "expected IP:PORT")]
    #[case::host_name("--tls-dir d --extender-listen localhost:1", "expected IP:PORT")]
    #[case::secret_without_namespace("--self-signed-secret ca", "expected NAMESPACE/NAME")]
    #[case::format("--tls-dir d --log-format xml", "possible values: json, text")]
    #[case::level("--tls-dir d --log-level infoo", "expected error, warn, info")]
    #[case::duration("--tls-dir d --shutdown-delay 5", "such as 20s")]
    fn wrong_usage_is_one_clear_sentence(#[case] flags: &str, #[case] sentence: &str) {
        let error = serve(flags).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(sentence), "{error}");
    }

    #[test]
    fn every_subcommand_has_an_example() {
        Typed::command().debug_assert();
        for command in Typed::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains(&format!("pointsman {}", command.get_name())),
                "{}",
                command.get_name()
            );
        }
    }
}
