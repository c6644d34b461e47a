//! Rows about one pod: what it was promised against what it got.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::finding::Finding;
use super::pod_facts::{AttachedNetwork, PodFacts};
use super::source::Source;
use super::tally::{count, few};
use crate::decide::claim::{Claim, claim};
use crate::decide::names::ResourceName;
use crate::decide::pod::Pod;
use crate::decide::tier::Tiers;

/// The pod is on the node it was promised.
pub(super) fn node(facts: &Facts, pod: &PodFacts) -> Finding {
    let subject = format!("node of {}", at(pod));
    let Some(node) = &pod.node else {
        return Finding::no(
            subject,
            "it is not bound",
            format!(
                "pointsman explain -n {} {}\nkubectl -n {} describe pod {}",
                pod.pod.at.namespace, pod.pod.at.name, pod.pod.at.namespace, pod.pod.at.name
            ),
        );
    };
    let known = facts.knows(Source::Node) && facts.snapshot.nodes.get(node.as_str()).is_none();
    if known {
        return Finding::no(
            subject,
            format!("it is bound to {node}, which does not exist"),
            recreate(pod, "its node is gone"),
        );
    }
    match &pod.placement {
        None => Finding::unknown(
            subject,
            format!(
                "bound to {node} without a placement record: another scheduler or another extender bound it"
            ),
            format!(
                "kubectl -n {} get pod {} -o jsonpath='{{.spec.schedulerName}}'",
                pod.pod.at.namespace, pod.pod.at.name
            ),
        ),
        Some(Err(problem)) => Finding::unknown(
            subject,
            format!("bound to {node}; its placement record cannot be read: {problem}"),
            show(pod),
        ),
        Some(Ok(record)) if record.node == *node => Finding::yes(subject, format!("{node}, as promised")),
        Some(Ok(record)) => Finding::no(
            subject,
            format!("promised {}, bound to {node}", record.node),
            recreate(pod, "the record was copied from another pod, or written by hand"),
        ),
    }
}

/// The pod is in its gang's domain.
pub(super) fn domain(facts: &Facts, pod: &PodFacts) -> Finding {
    let subject = format!("fabric domain of {}", at(pod));
    let gang = match &pod.pod.gang {
        Ok(Some(gang)) => gang,
        Ok(None) => return Finding::yes(subject, "it belongs to no gang"),
        Err(problems) => return Finding::no(subject, problems.to_string(), show(pod)),
    };
    let Some(Ok(record)) = &pod.placement else {
        return Finding::unknown(
            subject,
            format!("gang {}, and no placement record", gang.name),
            show(pod),
        );
    };
    let Some(promised) = &record.domain else {
        return Finding::yes(subject, format!("gang {} was promised no domain", gang.name));
    };
    let Some(node) = pod
        .node
        .as_deref()
        .and_then(|name| facts.snapshot.nodes.get(name))
    else {
        return Finding::unknown(
            subject,
            format!("promised {promised}; its node is not known"),
            "kubectl get nodes --show-labels",
        );
    };
    let tiers = Tiers::of(&facts.configuration.decisions.tiers, &facts.snapshot);
    let is: Vec<String> = (0..tiers.count())
        .filter_map(|level| tiers.domain(level, &node.labels))
        .map(|domain| domain.to_string())
        .collect();
    if is.contains(promised) {
        Finding::yes(subject, format!("gang {} in {promised}, as promised", gang.name))
    } else {
        Finding::no(
            subject,
            format!(
                "gang {} was promised {promised}, and {} is in {}",
                gang.name,
                node.name,
                if is.is_empty() {
                    "none".to_owned()
                } else {
                    is.join(", ")
                }
            ),
            format!(
                "# the node's labels have changed since: import the fabric again, or restart the gang\n\
                 kubectl get node {} --show-labels\npointsman topology check",
                node.name
            ),
        )
    }
}

/// Multus attached every network that the pod lists.
pub(super) fn networks(_: &Facts, pod: &PodFacts) -> Finding {
    let subject = format!("networks of {}", at(pod));
    let wanted = match wanted(&pod.pod) {
        Ok(wanted) => wanted,
        Err(problem) => return Finding::no(subject, problem, recreate(pod, "its annotation cannot be read")),
    };
    if wanted.is_empty() {
        return Finding::yes(subject, "it lists none");
    }
    let status = match &pod.status {
        Some(Ok(status)) => status,
        Some(Err(problem)) => {
            return Finding::unknown(
                subject,
                format!("network-status cannot be read: {problem}"),
                show(pod),
            );
        }
        None => {
            return Finding::unknown(
                subject,
                format!(
                    "{} listed, and Multus has not written network-status",
                    count(wanted.len(), "network")
                ),
                sandbox(pod),
            );
        }
    };
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(interface, network)| {
            !status
                .iter()
                .any(|attached| attached.interface == **interface && same(attached, network))
        })
        .map(|(interface, network)| {
            let other = status.iter().find(|attached| attached.interface == *interface);
            other.map_or_else(
                || format!("{network} on {interface} is not attached"),
                |other| format!("{interface} is {}, not {network}", other.name),
            )
        })
        .collect();
    if missing.is_empty() {
        Finding::yes(
            subject,
            format!("{}: all attached", count(wanted.len(), "network")),
        )
    } else {
        Finding::no(subject, few(&missing), sandbox(pod))
    }
}

/// The pod has a VF of its own behind every network that needs one.
pub(super) fn vfs(facts: &Facts, pod: &PodFacts) -> Finding {
    let subject = format!("VFs of {}", at(pod));
    let claim = match the_claim(facts, pod) {
        Ok(claim) => claim,
        Err(problem) => return Finding::unknown(subject, problem, show(pod)),
    };
    let named = match networks_by_resource(facts, &pod.pod) {
        Ok(named) => named,
        Err(problem) => return Finding::unknown(subject, problem, show(pod)),
    };
    let short: Vec<String> = named
        .iter()
        .filter_map(|(resource, networks)| {
            let asked = claim.vfs.get(resource).map_or(0, |need| need.count);
            let needed = u32::try_from(networks.len()).unwrap_or(u32::MAX);
            (asked < needed).then(|| {
                format!(
                    "{resource}: {} for {}",
                    count(usize::try_from(asked).unwrap_or(usize::MAX), "VF"),
                    count(networks.len(), "network")
                )
            })
        })
        .collect();
    if !short.is_empty() {
        return Finding::no(
            subject,
            format!("it requests {}", few(&short)),
            recreate(pod, "the webhook completes requests only when a pod is created"),
        );
    }
    if named.is_empty() {
        return Finding::yes(subject, "none of its networks needs one");
    }
    let Some(Ok(status)) = &pod.status else {
        return Finding::unknown(subject, "Multus has not written network-status", sandbox(pod));
    };
    let (mut addresses, mut twice, mut untold): (BTreeMap<&str, &str>, Vec<String>, Vec<&str>) =
        (BTreeMap::new(), Vec::new(), Vec::new());
    for (interface, network) in wanted(&pod.pod).unwrap_or_default() {
        let needs = named.values().flatten().any(|known| *known == interface);
        let Some(attached) = status
            .iter()
            .find(|attached| attached.interface == interface && same(attached, &network))
            .filter(|_| needs)
        else {
            continue;
        };
        let device = attached
            .device_info
            .as_ref()
            .and_then(|device| device.pci.as_ref());
        match device {
            Some(device) => {
                if let Some(other) = addresses.insert(&device.pci_address, &attached.interface) {
                    twice.push(format!(
                        "{other} and {} are both {}",
                        attached.interface, device.pci_address
                    ));
                }
            }
            None => untold.push(&attached.interface),
        }
    }
    let total: usize = named.values().map(Vec::len).sum();
    if !twice.is_empty() {
        Finding::no(subject, few(&twice), sandbox(pod))
    } else if addresses.len() == total {
        let list: Vec<String> = addresses
            .iter()
            .map(|(address, interface)| format!("{interface} {address}"))
            .collect();
        Finding::yes(subject, format!("{}: {}", count(total, "VF"), few(&list)))
    } else if !untold.is_empty() {
        Finding::unknown(
            subject,
            format!("network-status tells no device for {}", untold.join(", ")),
            "# the device plugin tells devices when its pod mounts the host's /var/run/k8s.cni.cncf.io/devinfo/dp\n\
             kubectl get daemonsets -A -o yaml | grep devinfo",
        )
    } else {
        Finding::no(
            subject,
            format!("{} promised, {} attached", count(total, "VF"), addresses.len()),
            sandbox(pod),
        )
    }
}

/// Spiderpool gave the pod an address on every interface, from the pools that were promised.
pub(super) fn addresses(facts: &Facts, pod: &PodFacts) -> Finding {
    let subject = format!("addresses of {}", at(pod));
    let promised = match promised(facts, pod) {
        Ok(promised) => promised,
        Err(problem) => return Finding::unknown(subject, problem, show(pod)),
    };
    if promised.is_empty() {
        return Finding::yes(subject, "none was promised");
    }
    let Some(given) = &pod.endpoint else {
        return Finding::unknown(
            subject,
            format!(
                "{} promised, and there is no SpiderEndpoint of it",
                count(promised.len(), "interface")
            ),
            sandbox(pod),
        );
    };
    let mut problems = Vec::new();
    if given.uid != pod.pod.at.uid.as_str() && !given.uid.is_empty() {
        problems.push(format!(
            "the SpiderEndpoint is of another pod of that name ({})",
            given.uid
        ));
    }
    if let Some(node) = pod.node.as_deref().filter(|node| *node != given.node) {
        problems.push(format!("allocated on {}, bound to {node}", given.node));
    }
    let mut told = Vec::new();
    for (interface, pools) in &promised {
        let address = given.ips.iter().find(|address| address.interface == *interface);
        let Some(address) = address else {
            problems.push(format!(
                "{interface} has no address, promised from {}",
                pools.join(" or ")
            ));
            continue;
        };
        let families = [
            (&address.ipv4, &address.ipv4_pool),
            (&address.ipv6, &address.ipv6_pool),
        ];
        for (address, pool) in families {
            let (Some(address), Some(pool)) = (address, pool) else {
                continue;
            };
            if address.is_empty() {
                continue;
            }
            if pools.contains(pool) {
                told.push(format!("{interface} {address} of {pool}"));
            } else {
                problems.push(format!(
                    "{interface} has {address} of {pool}, promised from {}",
                    pools.join(" or ")
                ));
            }
        }
    }
    let mut by_address: BTreeMap<&str, &str> = BTreeMap::new();
    for address in &given.ips {
        for text in [&address.ipv4, &address.ipv6].into_iter().flatten() {
            if text.is_empty() {
                continue;
            }
            if let Some(other) = by_address.insert(text, &address.interface) {
                problems.push(format!("{other} and {} both have {text}", address.interface));
            }
        }
    }
    if problems.is_empty() {
        Finding::yes(subject, few(&told))
    } else {
        Finding::no(
            subject,
            few(&problems),
            format!(
                "kubectl -n {0} get spiderendpoint {1} -o yaml\n{2}",
                pod.pod.at.namespace,
                pod.pod.at.name,
                sandbox(pod)
            ),
        )
    }
}

/// The pools promised for each interface: by the record of the binding, else by the same rules anew.
fn promised(facts: &Facts, pod: &PodFacts) -> Result<BTreeMap<String, Vec<String>>, String> {
    if let Some(Ok(record)) = &pod.placement {
        return Ok(record.pools.clone());
    }
    let claim = the_claim(facts, pod)?;
    let mut pools: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for demand in claim.demands.iter() {
        pools
            .entry(demand.interface.to_string())
            .or_default()
            .extend(demand.candidates.iter().map(|pool| pool.name.to_string()));
    }
    Ok(pools)
}

fn the_claim(facts: &Facts, pod: &PodFacts) -> Result<Claim, String> {
    claim(&pod.pod, &facts.snapshot, &facts.configuration.decisions).map_err(|refusal| refusal.to_string())
}

/// The interfaces the pod lists, in order, with their networks.
fn wanted(pod: &Pod) -> Result<Vec<(String, String)>, String> {
    let networks = pod.networks.as_ref().map_err(ToString::to_string)?;
    if pod.host_network {
        return Ok(Vec::new());
    }
    Ok(networks
        .iter()
        .zip(1_u32..)
        .map(|(selection, position)| {
            let interface = selection
                .interface
                .as_ref()
                .map_or_else(|| format!("net{position}"), ToString::to_string);
            (interface, selection.network.to_string())
        })
        .collect())
}

/// The interfaces that need a VF of each resource.
fn networks_by_resource(facts: &Facts, pod: &Pod) -> Result<BTreeMap<ResourceName, Vec<String>>, String> {
    let mut named: BTreeMap<ResourceName, Vec<String>> = BTreeMap::new();
    let selections = pod.networks.as_ref().map_err(ToString::to_string)?;
    for ((interface, _), selection) in wanted(pod)?.into_iter().zip(selections) {
        let network = facts
            .snapshot
            .networks
            .get(&selection.network)
            .ok_or_else(|| format!("network {} is not known", selection.network))?;
        let attachment = network.reading.as_ref().map_err(ToString::to_string)?;
        if let Some(resource) = &attachment.resource {
            named.entry(resource.clone()).or_default().push(interface);
        }
    }
    Ok(named)
}

/// Multus writes the name that stands in the network's configuration where it has one, else `namespace/name`.
fn same(attached: &AttachedNetwork, network: &str) -> bool {
    let bare = network.rsplit_once('/').map_or(network, |(_, name)| name);
    attached.name == network || attached.name == bare
}

fn at(pod: &PodFacts) -> String {
    format!("{}/{}", pod.pod.at.namespace, pod.pod.at.name)
}

fn show(pod: &PodFacts) -> String {
    format!(
        "kubectl -n {} get pod {} -o jsonpath='{{.metadata.annotations}}'",
        pod.pod.at.namespace, pod.pod.at.name
    )
}

/// Why the node could not attach what was promised.
fn sandbox(pod: &PodFacts) -> String {
    let (namespace, name) = (&pod.pod.at.namespace, &pod.pod.at.name);
    let on_node = pod.node.as_ref().map_or_else(String::new, |node| {
        format!("\n# is the node fit?\npointsman check --node {node}")
    });
    format!(
        "# what the kubelet, Multus and Spiderpool say\n\
         kubectl -n {namespace} get events --field-selector involvedObject.name={name} --sort-by .lastTimestamp{on_node}"
    )
}

fn recreate(pod: &PodFacts, why: &str) -> String {
    format!(
        "# {why}: its controller makes it again\nkubectl -n {} delete pod {}",
        pod.pod.at.namespace, pod.pod.at.name
    )
}
