//! The configuration file: what the operator of the cluster has chosen, with a default for everything.
//!
//! It is read once at start, strictly and as a whole: every problem is reported, with its path, before
//! anything runs; a program half configured never starts. Nothing in here acts on a setting.

pub mod duration;
mod fabric;
mod fields;

use core::fmt;
use core::time::Duration;
use std::path::{Path, PathBuf};

use crate::decide::names::{NamespaceName, ResourceName};
use crate::decide::policy::Locality;
use crate::decide::problem::{Problem, Problems};
use crate::decide::settings::{MultusReach, NodeStatePolicy, Podnetinfo, SchedulerMode, Settings};

use fields::Fields;

/// The only version there is.
pub const API_VERSION: &str = "config.pointsman.io/v1alpha1";
/// The only kind there is.
pub const KIND: &str = "Configuration";

const DAY: Duration = Duration::from_hours(24);

/// Everything a file can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// What decisions depend on.
    pub decisions: Settings,
    /// The objects that lead the API server to the webhook.
    pub webhook: WebhookObjects,
    /// How long certificates of our own making live.
    pub certificate: CertificateLifetimes,
    /// Our own namespace, where the fabric import leaves its date.
    pub namespace: NamespaceName,
    /// Where the SR-IOV operator keeps its objects; every namespace when none.
    pub sriov_operator_namespace: Option<NamespaceName>,
    /// How long the extender keeps promises.
    pub reservation: Reservation,
    /// How fast waiting pods are woken.
    pub nudge: Nudge,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            decisions: Settings::default(),
            webhook: WebhookObjects::default(),
            certificate: CertificateLifetimes::default(),
            namespace: "pointsman-system".into(),
            sriov_operator_namespace: None,
            reservation: Reservation::default(),
            nudge: Nudge::default(),
        }
    }
}

/// The objects that lead the API server to the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookObjects {
    /// Name of the MutatingWebhookConfiguration (and of the validating one, if there is any).
    pub configuration_name: String,
    /// Name of the Service, for which the certificate is made out.
    pub service_name: String,
}

impl Default for WebhookObjects {
    fn default() -> Self {
        Self {
            configuration_name: "pointsman".to_owned(),
            service_name: "pointsman-webhook".to_owned(),
        }
    }
}

/// How long certificates of our own making live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateLifetimes {
    /// The serving certificate of one process.
    pub leaf: Duration,
    /// The CA that all replicas share.
    pub authority: Duration,
}

impl Default for CertificateLifetimes {
    fn default() -> Self {
        Self {
            // As cert-manager's and ACME's: long enough to outlive any outage of ours, renewed after 60 days.
            leaf: DAY * 90,
            // Its renewal is the one that touches the API server's configuration; rare is good.
            authority: DAY * 1825,
        }
    }
}

/// How long the extender keeps promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// A node passed `filter` for the pod, nothing is bound yet.
    pub hold: Duration,
    /// Places for the rest of a gang, since its last pod was decided about.
    pub gang: Duration,
    /// A bind whose outcome is not known.
    pub lifetime: Duration,
}

impl Default for Reservation {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(30),
            // As long as a Job controller under load takes to create the pods of a large gang.
            gang: Duration::from_mins(1),
            lifetime: Duration::from_mins(2),
        }
    }
}

/// How fast waiting pods are woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nudge {
    /// Changes within this time wake pods together.
    pub interval: Duration,
    /// Most patches per second.
    pub per_second: u32,
}

impl Default for Nudge {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(200),
            per_second: 20,
        }
    }
}

impl Configuration {
    /// The file at `path`, or the defaults when there is none to read.
    ///
    /// # Errors
    /// When the file cannot be read, is not YAML, or has problems.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let fault = |what| ConfigError {
            path: path.to_owned(),
            what,
        };
        let text = std::fs::read_to_string(path).map_err(|error| fault(Fault::Unreadable(error)))?;
        Self::from_yaml(&text).map_err(|problems| fault(Fault::Wrong(problems)))
    }

    /// The configuration that `text` describes.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_yaml(text: &str) -> Result<Self, Problems> {
        let file = serde_saphyr::from_str(text).map_err(|error| {
            Problem::new(
                "the file",
                format!("text that is not YAML ({})", first_line(&error.to_string())),
                "one YAML document",
                "correct the line it names",
            )
        })?;
        let mut problems = Problems::none();
        let configuration = Fields::of_file(file, &mut problems, read);
        problems.or(configuration)
    }
}

/// Why a configuration file could not be used.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    what: Fault,
}

#[derive(Debug)]
enum Fault {
    Unreadable(std::io::Error),
    Wrong(Problems),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration file {}:", self.path.display())?;
        match &self.what {
            Fault::Unreadable(error) => write!(f, " cannot be read: {error}"),
            Fault::Wrong(problems) => problems.iter().try_for_each(|problem| write!(f, "\n  {problem}")),
        }
    }
}

impl std::error::Error for ConfigError {}

fn read(file: &mut Fields<'_>) -> Configuration {
    file.fixed("apiVersion", API_VERSION);
    file.fixed("kind", KIND);
    let default = Configuration::default();
    let (scheduler, binds) = file.section("scheduler", scheduler);
    let webhook = file.section("webhook", webhook);
    let certificate = file.section("certificate", certificate);
    let accelerators = file.list(
        "acceleratorResources",
        "a resource name with its prefix, such as nvidia.com/gpu",
        |text| {
            text.split_once('/')
                .is_some_and(|(prefix, name)| is_subdomain(prefix) && !name.is_empty())
        },
    );
    let shared_rdma_prefixes = file.list(
        "sharedRdmaPrefixes",
        "a prefix with its slash, such as rdma/",
        |text| text.strip_suffix('/').is_some_and(is_subdomain),
    );
    let further_resource_keys = file.list(
        "furtherResourceNameKeys",
        "an annotation key with its prefix, such as k8s.v1.cni.cncf.io/bridgeName",
        |text| {
            text.split_once('/')
                .is_some_and(|(prefix, name)| is_subdomain(prefix) && !name.is_empty())
        },
    );
    let podnetinfo = file.section("podnetinfo", podnetinfo);
    let namespaces = file.section("namespaces", namespaces);
    let multus_reach = file.section("multus", multus_reach);
    let node_state = file.choice(
        "nodeState",
        &[
            ("auto", NodeStatePolicy::Auto),
            ("require", NodeStatePolicy::Require),
            ("trust", NodeStatePolicy::Trust),
        ],
        default.decisions.node_state,
    );
    let reservation = file.section("reservation", reservation);
    let nudge = file.section("nudge", nudge);
    let (ipv4, ipv6) = file.section("ipFamilies", ip_families);
    let (tiers, locality) = file.section("locality", locality);
    let links = file.section("fabric", fabric::links);
    Configuration {
        decisions: Settings {
            scheduler,
            binds,
            accelerators: accelerators.map_or(default.decisions.accelerators, |names| {
                names.into_iter().map(ResourceName::from).collect()
            }),
            shared_rdma_prefixes: shared_rdma_prefixes.unwrap_or(default.decisions.shared_rdma_prefixes),
            further_resource_keys: further_resource_keys.unwrap_or_default(),
            podnetinfo,
            multus_namespace: namespaces.multus,
            multus_reach,
            spiderpool_namespace: namespaces.spiderpool,
            profile_namespaces: namespaces.profiles,
            node_state,
            tiers,
            links,
            locality,
            ipv4,
            ipv6,
        },
        webhook,
        certificate,
        namespace: namespaces.pointsman,
        sriov_operator_namespace: namespaces.sriov_operator,
        reservation,
        nudge,
    }
}

fn scheduler(fields: &mut Fields<'_>) -> (SchedulerMode, bool) {
    #[derive(Clone, Copy)]
    enum Mode {
        Dedicated,
        Existing,
    }
    let mode = fields.choice(
        "mode",
        &[("dedicated", Mode::Dedicated), ("existing", Mode::Existing)],
        Mode::Dedicated,
    );
    let name = fields.text("name", "pointsman-scheduler", "a scheduler's name", is_subdomain);
    let mode = match mode {
        Mode::Dedicated => SchedulerMode::Dedicated(name.into()),
        Mode::Existing => SchedulerMode::Existing,
    };
    (mode, fields.flag("bind", true))
}

fn webhook(fields: &mut Fields<'_>) -> WebhookObjects {
    let default = WebhookObjects::default();
    WebhookObjects {
        configuration_name: fields.text(
            "configurationName",
            &default.configuration_name,
            "the name of a MutatingWebhookConfiguration",
            is_subdomain,
        ),
        service_name: fields.text(
            "serviceName",
            &default.service_name,
            "the name of a Service",
            is_label,
        ),
    }
}

fn certificate(fields: &mut Fields<'_>) -> CertificateLifetimes {
    let default = CertificateLifetimes::default();
    // Below ten seconds a renewal would not reach the API server in time; above ten years nobody renews.
    let (least, most) = (Duration::from_secs(10), DAY * 3650);
    let leaf = fields.duration("lifetime", default.leaf, least, most);
    let authority = fields.duration("caLifetime", default.authority, least, most);
    if authority < leaf {
        fields.wrong(
            "caLifetime",
            duration::print(authority),
            format!(
                "at least the lifetime of the certificates it signs, {}",
                duration::print(leaf)
            ),
            "make it longer, or certificate.lifetime shorter",
        );
    }
    CertificateLifetimes { leaf, authority }
}

/// The section `namespaces`.
struct Namespaces {
    multus: NamespaceName,
    spiderpool: NamespaceName,
    sriov_operator: Option<NamespaceName>,
    pointsman: NamespaceName,
    profiles: Vec<NamespaceName>,
}

fn namespaces(fields: &mut Fields<'_>) -> Namespaces {
    let own = Configuration::default().namespace;
    let default = Settings::default();
    let mut namespace = |key, default: &str| fields.text(key, default, "a namespace's name", is_label);
    let multus = namespace("multus", default.multus_namespace.as_str());
    let spiderpool = namespace("spiderpool", default.spiderpool_namespace.as_str());
    let pointsman = namespace("pointsman", own.as_str());
    let sriov_operator = fields.text(
        "sriovOperator",
        "",
        "a namespace's name, or \"\" for all",
        |text| text.is_empty() || is_label(text),
    );
    let profiles = fields.list("profiles", "a namespace's name", is_label);
    Namespaces {
        multus: multus.into(),
        spiderpool: spiderpool.into(),
        sriov_operator: (!sriov_operator.is_empty()).then(|| sriov_operator.into()),
        pointsman: pointsman.into(),
        profiles: profiles.into_iter().flatten().map(NamespaceName::from).collect(),
    }
}

/// As Multus' own configuration says it; without a list it lets every pod use the networks of `default`.
fn multus_reach(fields: &mut Fields<'_>) -> MultusReach {
    let isolated = fields.flag("namespaceIsolation", false);
    let others = fields.list("globalNamespaces", "a namespace's name", is_label);
    let others = others.unwrap_or_else(|| vec!["default".to_owned()]);
    if isolated {
        MultusReach::OwnAnd(others.into_iter().map(NamespaceName::from).collect())
    } else {
        MultusReach::Everywhere
    }
}

fn podnetinfo(fields: &mut Fields<'_>) -> Podnetinfo {
    match (fields.flag("enabled", false), fields.flag("hugepages", false)) {
        (true, true) => Podnetinfo::WithHugepages,
        (true, false) => Podnetinfo::On,
        (false, false) => Podnetinfo::Off,
        (false, true) => {
            fields.wrong(
                "hugepages",
                "true, and enabled false",
                "hugepages only with enabled: true",
                "enable the volume, or leave hugepages out",
            );
            Podnetinfo::Off
        }
    }
}

fn reservation(fields: &mut Fields<'_>) -> Reservation {
    let default = Reservation::default();
    let (least, most) = (Duration::from_secs(1), Duration::from_mins(10));
    Reservation {
        hold: fields.duration("hold", default.hold, least, most),
        gang: fields.duration("gang", default.gang, least, most),
        lifetime: fields.duration("lifetime", default.lifetime, least, most),
    }
}

fn nudge(fields: &mut Fields<'_>) -> Nudge {
    let default = Nudge::default();
    Nudge {
        interval: fields.duration(
            "interval",
            default.interval,
            Duration::from_millis(10),
            Duration::from_mins(1),
        ),
        per_second: fields.number("perSecond", default.per_second, 1, 1000),
    }
}

fn ip_families(fields: &mut Fields<'_>) -> (bool, bool) {
    let families = (fields.flag("ipv4", true), fields.flag("ipv6", true));
    if families == (false, false) {
        fields.wrong(
            "ipv4",
            "false, and ipv6 false too",
            "at least one true",
            "write what enableIPv4 and enableIPv6 say in Spiderpool's configuration",
        );
    }
    families
}

fn locality(fields: &mut Fields<'_>) -> (Vec<String>, Locality) {
    let preset = fabric::preset(fields);
    let tiers = fields.list("tiers", "the key of a node label", |text| {
        let name = text.split_once('/').map_or(text, |(_, name)| name);
        !name.is_empty() && !name.contains(char::is_whitespace)
    });
    if let (Some(preset), true) = (preset, tiers.is_some()) {
        fields.wrong(
            "preset",
            preset.name,
            "one of preset and tiers",
            "keep the preset for its keys, or tiers for your own",
        );
    }
    let named = preset.map(|preset| {
        preset
            .keys
            .iter()
            .map(|key| (*key).to_owned())
            .collect::<Vec<_>>()
    });
    let default = fields.text(
        "default",
        "preferred=leaf-group",
        "required=<tier>, preferred=<tier> or none",
        |text| text.parse::<Locality>().is_ok(),
    );
    // What is not accepted has been told; the default stands in until then.
    let locality = default.parse().unwrap_or_else(|_| Settings::default().locality);
    (tiers.or(named).unwrap_or_default(), locality)
}

/// RFC 1123 label: what a namespace or a Service may be called.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 subdomain: labels joined by dots.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
