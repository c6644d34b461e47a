//! Everything about a pod that can never work, each found once and told with its remedy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    Attachment, ClusterSnapshot, ContainerFacts, GangChange, Interface, InterfaceName, Locality,
    NamespaceName, Network, NetworkRef, OwnNetwork, Place, Plugin, PodFacts, PodPolicy, Problem, Problems,
    ProfileName, Rails, ResourceName, Settings, annotation, most_free, quoted,
};
use crate::decide::settings::MultusReach;
use crate::decide::tier::Tiers;

/// Problems as they are found.
#[derive(Default)]
pub(super) struct Findings {
    problems: Problems,
    /// One of the problems is not that something is unknown.
    lasting: bool,
    /// Networks that have been reported; a profile and the pod's own list may both name one.
    reported: BTreeSet<NetworkRef>,
}

impl Findings {
    /// All problems, and whether a newer look at the cluster may find none of them.
    pub(super) fn into_parts(self) -> (Problems, bool) {
        let may_pass = !self.lasting && !self.problems.is_empty();
        (self.problems, may_pass)
    }

    pub(super) fn extend(&mut self, problems: Problems) {
        self.lasting |= !problems.is_empty();
        self.problems.extend(problems);
    }

    /// Whether this very problem has been found before; pods are refused rarely, and have few.
    pub(super) fn knows(&self, problem: &Problem) -> bool {
        self.problems.iter().any(|known| known == problem)
    }

    /// Whether some network of the pod is missing or cannot be read.
    pub(super) fn lacks_networks(&self) -> bool {
        !self.reported.is_empty()
    }

    pub(super) fn refuse(&mut self, problem: Problem) {
        self.lasting = true;
        self.problems.push(problem);
    }

    pub(super) fn unknown_yet(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A tier that the gang requires must be there; where nodes are not watched nothing is known of it.
    pub(super) fn locality(
        &mut self,
        gang: Option<&GangChange>,
        snapshot: &ClusterSnapshot,
        settings: &Settings,
    ) {
        let Some(GangChange {
            locality: Locality::Required(tier),
            ..
        }) = gang
        else {
            return;
        };
        if snapshot.nodes.is_empty() {
            return;
        }
        let tiers = Tiers::of(&settings.tiers, snapshot);
        let key = tiers.level(tier).and_then(|level| tiers.key(level));
        let carried = |key: &str| snapshot.nodes.values().any(|node| node.labels.contains_key(key));
        if key.is_some_and(carried) {
            return;
        }
        let known: Vec<&str> = (0..tiers.count())
            .filter_map(|level| tiers.key(level))
            .filter(|key| carried(key))
            .collect();
        let expected = if known.is_empty() {
            "a tier of the fabric, but no node carries the label of any".to_owned()
        } else {
            format!("a tier that nodes carry the label of: {}", known.join(", "))
        };
        self.refuse(Problem::new(
            format!("annotation {}", annotation::LOCALITY),
            quoted(&format!("required={tier}")),
            expected,
            "ask for one of those, prefer it instead of requiring it, or label the nodes",
        ));
    }

    /// The networks of the profile that the pod is to have.
    pub(super) fn rails(
        &mut self,
        profile: &ProfileName,
        rails: Rails,
        own: &[OwnNetwork],
        snapshot: &ClusterSnapshot,
    ) -> Vec<Arc<Network>> {
        let networks = snapshot.profile(profile);
        if networks.is_empty() {
            let known: Vec<String> = snapshot.profiles().iter().map(ToString::to_string).collect();
            let (expected, first) = if known.is_empty() {
                ("a profile, but no network belongs to any yet".to_owned(), "")
            } else {
                (
                    format!("one of the profiles {}", known.join(", ")),
                    "name one of them, or ",
                )
            };
            self.unknown_yet(Problem::new(
                format!("annotation {}", annotation::PROFILE),
                quoted(profile.as_str()),
                expected,
                format!(
                    "{first}annotate the networks that belong to it (NetworkAttachmentDefinition or \
                     SpiderMultusConfig) with {}: {profile}",
                    annotation::PROFILE
                ),
            ));
        }
        let chosen = match rails {
            Rails::All => networks,
            Rails::Count(count) => {
                let count = usize::try_from(count.get()).unwrap_or(usize::MAX);
                if !networks.is_empty() && count > networks.len() {
                    self.unknown_yet(Problem::new(
                        format!("annotation {}", annotation::RAILS),
                        rails.to_string(),
                        format!("at most {}, the rails of profile {profile}", networks.len()),
                        "ask for fewer rails, or for all",
                    ));
                }
                most_free(networks, count, own, snapshot)
            }
        };
        for network in &chosen {
            match &network.reading {
                Ok(attachment) if attachment.resource.is_none() => self.no_resource(&network.at),
                Ok(_) => {}
                Err(problems) => self.unreadable(&network.at, problems),
            }
        }
        chosen
    }

    fn no_resource(&mut self, network: &NetworkRef) {
        if self.reported.insert(network.clone()) {
            self.refuse(Problem::new(
                format!("network {network}"),
                format!("no annotation {}", annotation::RESOURCE_NAME),
                "the device plugin's resource that its VFs come from",
                format!(
                    "annotate the network with {}: PREFIX/NAME, or take it out of the profile",
                    annotation::RESOURCE_NAME
                ),
            ));
        }
    }

    fn unreadable(&mut self, network: &NetworkRef, problems: &Problems) {
        if self.reported.insert(network.clone()) {
            for problem in problems {
                self.refuse(problem.clone());
            }
        }
    }

    /// The interfaces that Multus will make of the user's networks and ours.
    pub(super) fn interfaces<'a>(
        &mut self,
        own: &[OwnNetwork],
        appended: &[NetworkRef],
        snapshot: &'a ClusterSnapshot,
    ) -> Vec<Interface<'a>> {
        let mut interfaces = Vec::with_capacity(own.len() + appended.len());
        let of_user = own.iter().map(|own| (&own.selection.network, Some(own)));
        let ours = appended.iter().map(|network| (network, None));
        for ((network, own), position) in of_user.chain(ours).zip(1_u32..) {
            let Some(attachment) = self.attachment(annotation::NETWORKS, network, snapshot) else {
                continue;
            };
            self.guid(network, own, attachment);
            let requested = own.and_then(|own| own.selection.interface.clone());
            interfaces.push(Interface {
                network: network.clone(),
                name: requested.unwrap_or_else(|| format!("net{position}").into()),
                attachment,
            });
        }
        self.interface_names(&interfaces);
        interfaces
    }

    /// Networks that Multus keeps from pods of this namespace, each told once.
    pub(super) fn reach(
        &mut self,
        namespace: &NamespaceName,
        interfaces: &[Interface<'_>],
        settings: &Settings,
    ) {
        let MultusReach::OwnAnd(others) = &settings.multus_reach else {
            return;
        };
        let barred: BTreeSet<&NetworkRef> = interfaces
            .iter()
            .map(|interface| &interface.network)
            .filter(|network| !settings.multus_reach.includes(namespace, &network.namespace))
            .collect();
        let others: Vec<&str> = others.iter().map(NamespaceName::as_str).collect();
        for network in barred {
            self.refuse(Problem::new(
                format!("network {network}"),
                format!("namespace {}, whose networks Multus keeps from other pods", network.namespace),
                format!("a network of namespace {namespace}, or of {}", others.join(", ")),
                "create the network there, or open its namespace in Multus' globalNamespaces and in those of our configuration",
            ));
        }
    }

    /// What a network attaches; a network that is missing or unreadable is reported.
    fn attachment<'a>(
        &mut self,
        key: &str,
        at: &NetworkRef,
        snapshot: &'a ClusterSnapshot,
    ) -> Option<&'a Attachment> {
        match snapshot.networks.get(at).map(|network| &network.reading) {
            Some(Ok(attachment)) => Some(attachment),
            Some(Err(problems)) => {
                self.unreadable(at, problems);
                None
            }
            None => {
                if self.reported.insert(at.clone()) {
                    self.unknown_yet(missing(key, at, snapshot));
                }
                None
            }
        }
    }

    /// Multus passes on more GUIDs than ib-sriov-cni takes.
    fn guid(&mut self, network: &NetworkRef, own: Option<&OwnNetwork>, attachment: &Attachment) {
        let Some(own) = own.filter(|own| !own.selection.own_guid) else {
            return;
        };
        if let (Some(guid), Plugin::IbSriov { .. }) = (&own.guid, attachment.plugin) {
            self.refuse(Problem::new(
                format!("pod annotation {}, GUID for {network}", annotation::NETWORKS),
                quoted(guid),
                "eight octets with colons, not all zero, such as 02:00:00:00:00:00:00:01",
                "mend the GUID, or leave it out for the VF's own",
            ));
        }
    }

    fn interface_names(&mut self, interfaces: &[Interface<'_>]) {
        let eth0 = InterfaceName::from("eth0");
        let mut taken: BTreeMap<&InterfaceName, String> = BTreeMap::new();
        taken.insert(&eth0, "the cluster's network".to_owned());
        for interface in interfaces {
            if let Some(other) = taken.insert(&interface.name, interface.network.to_string()) {
                self.refuse(Problem::new(
                    format!("pod annotation {}", annotation::NETWORKS),
                    format!(
                        "interface {} for {} and for {other}",
                        interface.name, interface.network
                    ),
                    "a different interface name for each network (without a name it is net and the position)",
                    "choose another interface name",
                ));
            }
        }
    }

    /// The network in place of the cluster's own.
    pub(super) fn default_network<'a>(
        &mut self,
        pod: &'a PodFacts,
        snapshot: &'a ClusterSnapshot,
    ) -> Option<(&'a NetworkRef, &'a Attachment)> {
        let network = match &pod.default_network {
            Ok(network) => network.as_ref()?,
            Err(problems) => {
                self.extend(problems.clone());
                return None;
            }
        };
        let attachment = self.attachment(annotation::DEFAULT_NETWORK, network, snapshot)?;
        if let Plugin::IbSriov { .. } = attachment.plugin {
            self.refuse(Problem::new(
                format!("pod annotation {}", annotation::DEFAULT_NETWORK),
                quoted(&network.to_string()),
                "a network that is not ib-sriov, because Multus passes no GUID to a default network",
                format!("list the network in {} instead", annotation::NETWORKS),
            ));
        }
        Some((network, attachment))
    }

    /// What is wrong with the pod apart from its networks.
    pub(super) fn pod(
        &mut self,
        pod: &PodFacts,
        interfaces: &[Interface<'_>],
        needs: &BTreeMap<&ResourceName, u32>,
        settings: &Settings,
    ) {
        if pod.host_network {
            self.refuse(Problem::new(
                "spec.hostNetwork",
                "true",
                "a pod with a network of its own: Multus attaches nothing to one on its node's network",
                format!(
                    "remove hostNetwork, or set the annotation {}: \"false\"",
                    annotation::INJECT
                ),
            ));
        }
        if needs.is_empty() {
            return;
        }
        let exclusive = interfaces.iter().any(|interface| {
            let plugin = interface.attachment.plugin;
            plugin.rdma_isolation() || matches!(plugin, Plugin::IbSriov { .. })
        });
        if exclusive {
            self.shared_devices(pod, interfaces, settings);
        }
        for (place, container) in pod.all_containers() {
            self.unequal(&field(place), container, needs);
        }
    }

    /// Devices of the shared RDMA plugin beside exclusive VFs, whether a container or a network wants them.
    fn shared_devices(&mut self, pod: &PodFacts, interfaces: &[Interface<'_>], settings: &Settings) {
        let is_shared = |resource: &ResourceName| {
            settings
                .shared_rdma_prefixes
                .iter()
                .any(|prefix| resource.as_str().starts_with(prefix.as_str()))
        };
        let of_containers = pod.all_containers().flat_map(|(place, container)| {
            container
                .resources()
                .filter(move |resource| container.takes(resource) > 0)
                .map(move |resource| (format!("{}.resources", field(place)), resource))
        });
        let of_networks = interfaces.iter().filter_map(|interface| {
            let resource = interface.attachment.resource.as_ref()?;
            Some((format!("network {}", interface.network), resource))
        });
        for (at, resource) in of_containers
            .chain(of_networks)
            .filter(|(_, resource)| is_shared(resource))
        {
            self.refuse(Problem::new(
                at,
                format!("{resource}, a shared RDMA device"),
                "either shared devices or exclusive VFs: a node offers one of the two",
                format!("remove {resource}, or the profile and the networks with exclusive VFs"),
            ));
        }
    }

    fn unequal(&mut self, field: &str, container: &ContainerFacts, needs: &BTreeMap<&ResourceName, u32>) {
        for &resource in needs.keys() {
            if let (Some(request), Some(limit)) =
                (container.requests.get(resource), container.limits.get(resource))
                && request != limit
            {
                self.refuse(Problem::new(
                    format!("{field}.resources"),
                    format!("{resource}: {request} requested, limited to {limit}"),
                    "the same number, because devices are not overcommitted",
                    "make them equal, or leave both out to have them filled in",
                ));
            }
        }
    }

    /// The container that gets the VFs: the one named; else the first that asks for an accelerator; else the first
    /// that has such VFs already, so that a sidecar put before it changes nothing; else the first.
    pub(super) fn target<'p>(
        &mut self,
        pod: &'p PodFacts,
        policy: &PodPolicy,
        needs: &BTreeMap<&ResourceName, u32>,
        settings: &Settings,
    ) -> Option<(Place, &'p ContainerFacts)> {
        let Some(name) = &policy.container else {
            let main = || {
                pod.all_containers()
                    .filter(|(place, _)| matches!(place, Place::Container(_)))
            };
            let accelerated = settings
                .accelerators
                .iter()
                .find_map(|resource| main().find(|(_, container)| container.takes(resource) > 0));
            let with_vf = || main().find(|(_, container)| needs.keys().any(|vf| container.takes(vf) > 0));
            let target = accelerated.or_else(with_vf).or_else(|| main().next());
            if target.is_none() {
                self.refuse(Problem::new(
                    "spec.containers",
                    "no container",
                    "a container that gets the VFs",
                    "add a container",
                ));
            }
            return target;
        };
        let at = format!("annotation {}", annotation::CONTAINER);
        match pod
            .all_containers()
            .find(|(_, container)| container.name == *name)
        {
            Some((_, container)) if !container.lasting => {
                self.refuse(Problem::new(
                    at,
                    format!("{}, an init container that ends before the pod runs", quoted(name.as_str())),
                    "a container, or an init container with restartPolicy: Always, whose devices Multus can see",
                    "name another container",
                ));
                None
            }
            Some(found) => Some(found),
            None => {
                let known: Vec<&str> = pod
                    .all_containers()
                    .filter(|(_, container)| container.lasting)
                    .map(|(_, container)| container.name.as_str())
                    .collect();
                self.refuse(Problem::new(
                    at,
                    quoted(name.as_str()),
                    format!("one of the pod's containers {}", known.join(", ")),
                    "correct the name, or remove the annotation to have a container chosen",
                ));
                None
            }
        }
    }
}

fn missing(key: &str, at: &NetworkRef, snapshot: &ClusterSnapshot) -> Problem {
    let elsewhere: Vec<String> = snapshot
        .networks
        .keys()
        .filter(|known| known.name == at.name)
        .map(ToString::to_string)
        .collect();
    Problem::new(
        format!("pod annotation {key}"),
        format!("network {at}, which does not exist"),
        format!("a NetworkAttachmentDefinition of namespace {}", at.namespace),
        if elsewhere.is_empty() {
            "create it, or correct the name".to_owned()
        } else {
            format!("name it with its namespace: {}", elsewhere.join(" or "))
        },
    )
}

fn field(place: Place) -> String {
    match place {
        Place::Container(index) => format!("spec.containers[{index}]"),
        Place::InitContainer(index) => format!("spec.initContainers[{index}]"),
    }
}
