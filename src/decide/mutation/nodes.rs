//! The nodes on which a pod's networks can be attached, where the networks say so.

use std::collections::BTreeMap;

use super::{Attachment, Findings, Interface, NetworkRef, NodeLabel, PodFacts, Problem, annotation, quoted};

impl Findings {
    /// The labels that the pod's networks ask of its node and the pod does not yet. network-resources-injector lets the
    /// last of two networks win, and a network over the pod; either way the pod goes where something of it cannot work.
    pub(super) fn nodes(
        &mut self,
        pod: &PodFacts,
        interfaces: &[Interface<'_>],
        default_network: Option<(&NetworkRef, &Attachment)>,
    ) -> Vec<NodeLabel> {
        let networks = interfaces.iter().map(|one| (&one.network, one.attachment));
        let mut asked: BTreeMap<&str, (&str, &NetworkRef)> = BTreeMap::new();
        let mut missing = Vec::new();
        for (network, attachment) in networks.chain(default_network) {
            let NodeLabel { key, value } = match &attachment.nodes {
                Ok(None) => continue,
                Ok(Some(label)) => label,
                Err(problems) => {
                    for problem in problems {
                        if !self.knows(problem) {
                            self.refuse(problem.clone());
                        }
                    }
                    continue;
                }
            };
            let expected = || {
                format!(
                    "{}, the nodes that network {network} can be attached on ({})",
                    quoted(value),
                    annotation::NODE_SELECTOR
                )
            };
            let of_pod = pod.node_selector.get(key);
            if let Some(other) = of_pod.filter(|other| *other != value) {
                self.refuse(Problem::new(
                    format!("spec.nodeSelector.{key}"),
                    quoted(other),
                    expected(),
                    "remove the label from the pod's nodeSelector, or the network from the pod",
                ));
                continue;
            }
            match asked.insert(key, (value, network)) {
                Some((other, first)) if other != value => self.refuse(Problem::new(
                    format!("network {first}, annotation {}", annotation::NODE_SELECTOR),
                    quoted(&format!("{key}={other}")),
                    expected(),
                    "attach networks of the same nodes",
                )),
                None if of_pod.is_none() => missing.push(NodeLabel {
                    key: key.clone(),
                    value: value.clone(),
                }),
                _ => {}
            }
        }
        missing
    }
}
