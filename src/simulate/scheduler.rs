//! The part of kube-scheduler that stands before the extender: which nodes a pod can have by what Kubernetes itself
//! knows. Pure; refusals are worded as kube-scheduler words them.
//!
//! Left out is what no file says or what our pods do not use: volumes, affinity between pods, topology spread, ports.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::cluster::quantity;

/// The nodes, and what the pods on them have taken.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    seats: BTreeMap<String, Seat>,
}

/// What the scheduler finds for one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filtered {
    /// Nodes the pod can have, in order of name.
    pub fits: Vec<String>,
    /// For the others, every reason against them.
    pub refused: BTreeMap<String, Vec<String>>,
}

/// One node.
#[derive(Clone, Debug, Default)]
struct Seat {
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
    unschedulable: bool,
    allocatable: Amounts,
    used: Amounts,
    pods: u64,
}

/// Amounts by resource, in thousandths.
type Amounts = BTreeMap<String, i128>;

/// An amount that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {found:?} is not an amount such as 500m, 8 or 2Gi")]
pub struct AmountError {
    resource: String,
    found: String,
}

/// The taint that stands for `spec.unschedulable`, for tolerations.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Resources that every real node reports. Where a shortened example leaves one out, it is not limited.
const ALWAYS_REPORTED: [&str; 4] = ["cpu", "ephemeral-storage", "memory", "pods"];

impl Scheduler {
    /// Learns of a node.
    ///
    /// # Errors
    /// When an allocatable amount cannot be read; the node is then not offered.
    pub fn add_node(&mut self, node: Node) -> Result<(), AmountError> {
        let spec = node.spec.unwrap_or_default();
        let seat = Seat {
            labels: node.metadata.labels.unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            allocatable: amounts(node.status.unwrap_or_default().allocatable.as_ref())?,
            ..Seat::default()
        };
        self.seats.insert(node.metadata.name.unwrap_or_default(), seat);
        Ok(())
    }

    /// Takes a bound pod's requests from its node; nothing for a pod that has ended, or on a node that is not known.
    ///
    /// # Errors
    /// When an amount it requests cannot be read.
    pub fn seat(&mut self, pod: &Pod) -> Result<(), AmountError> {
        let Some(spec) = &pod.spec else { return Ok(()) };
        let Some(seat) = spec
            .node_name
            .as_ref()
            .filter(|_| !ended(pod))
            .and_then(|node| self.seats.get_mut(node))
        else {
            return Ok(());
        };
        for (resource, amount) in requests(spec)? {
            *seat.used.entry(resource).or_default() += amount;
        }
        seat.pods += 1;
        Ok(())
    }

    /// Which nodes the pod can have.
    ///
    /// # Errors
    /// When an amount it requests cannot be read.
    pub fn filter(&self, pod: &Pod) -> Result<Filtered, AmountError> {
        let default = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&default);
        let requests = requests(spec)?;
        let mut filtered = Filtered::default();
        for (name, seat) in &self.seats {
            let reasons = seat.refusals(name, spec, &requests);
            if reasons.is_empty() {
                filtered.fits.push(name.clone());
            } else {
                filtered.refused.insert(name.clone(), reasons);
            }
        }
        Ok(filtered)
    }
}

/// Whether the pod has succeeded or failed.
#[must_use]
pub fn ended(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| phase == "Succeeded" || phase == "Failed")
}

impl Seat {
    /// kube-scheduler stops at the first of its filters that says no; the last one may have several reasons.
    fn refusals(&self, name: &str, spec: &PodSpec, requests: &Amounts) -> Vec<String> {
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        if self.unschedulable && !tolerates(tolerations, UNSCHEDULABLE, None, "NoSchedule") {
            return vec!["node(s) were unschedulable".to_owned()];
        }
        if spec.node_name.as_deref().is_some_and(|wanted| wanted != name) {
            return vec!["node(s) didn't match the requested node name".to_owned()];
        }
        if self
            .taints
            .iter()
            .filter(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute")
            .any(|taint| !tolerates(tolerations, &taint.key, taint.value.as_deref(), &taint.effect))
        {
            return vec!["node(s) had untolerated taint(s)".to_owned()];
        }
        if !self.selected(name, spec) {
            return vec!["node(s) didn't match Pod's node affinity/selector".to_owned()];
        }
        self.shortages(requests)
    }

    fn selected(&self, name: &str, spec: &PodSpec) -> bool {
        let by_selector = spec
            .node_selector
            .iter()
            .flatten()
            .all(|(key, value)| self.labels.get(key) == Some(value));
        let required: Option<&NodeSelector> = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| {
                affinity
                    .required_during_scheduling_ignored_during_execution
                    .as_ref()
            });
        by_selector
            && required.is_none_or(|selector| {
                selector
                    .node_selector_terms
                    .iter()
                    .any(|term| self.matches(name, term))
            })
    }

    /// A term without any requirement selects nothing.
    fn matches(&self, name: &str, term: &NodeSelectorTerm) -> bool {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        !(expressions.is_empty() && fields.is_empty())
            && expressions
                .iter()
                .all(|wanted| holds(wanted, self.labels.get(&wanted.key).map(String::as_str)))
            && fields
                .iter()
                .all(|wanted| wanted.key == "metadata.name" && holds(wanted, Some(name)))
    }

    fn shortages(&self, requests: &Amounts) -> Vec<String> {
        let mut reasons = Vec::new();
        if self
            .allocatable
            .get("pods")
            .is_some_and(|most| (i128::from(self.pods) + 1) * 1000 > *most)
        {
            reasons.push("Too many pods".to_owned());
        }
        for (resource, wanted) in requests {
            let Some(offered) = self
                .allocatable
                .get(resource)
                .copied()
                .or_else(|| (!ALWAYS_REPORTED.contains(&resource.as_str())).then_some(0))
            else {
                continue;
            };
            let used = self.used.get(resource).copied().unwrap_or_default();
            if *wanted > 0 && *wanted > offered - used {
                reasons.push(format!("Insufficient {resource}"));
            }
        }
        reasons
    }
}

/// Whether one of the tolerations covers a taint.
fn tolerates(tolerations: &[Toleration], key: &str, value: Option<&str>, effect: &str) -> bool {
    tolerations.iter().any(|toleration| {
        let wanted_key = toleration.key.as_deref().unwrap_or_default();
        let wanted_effect = toleration.effect.as_deref().unwrap_or_default();
        let value_matches = match toleration.operator.as_deref().unwrap_or("Equal") {
            "Exists" => true,
            // An empty key goes with Exists only.
            "Equal" | "" => {
                !wanted_key.is_empty()
                    && toleration.value.as_deref().unwrap_or_default() == value.unwrap_or_default()
            }
            _ => false,
        };
        value_matches
            && (wanted_key.is_empty() || wanted_key == key)
            && (wanted_effect.is_empty() || wanted_effect == effect)
    })
}

/// Whether a requirement holds of a label, or of a field.
fn holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|text| number(text));
    match wanted.operator.as_str() {
        "In" => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
        "NotIn" => !value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => matches!((value.and_then(number), bound), (Some(value), Some(bound)) if value > bound),
        "Lt" => matches!((value.and_then(number), bound), (Some(value), Some(bound)) if value < bound),
        _ => false,
    }
}

/// What a pod takes: the sum of its containers and sidecars, or what one of its init containers takes beside the
/// sidecars started before it, whichever is more; a total set for the whole pod replaces both; then the overhead.
fn requests(spec: &PodSpec) -> Result<Amounts, AmountError> {
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &wants(container)?);
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let wanted = wants(container)?;
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &wanted);
            add(&mut sidecars, &wanted);
        } else {
            let mut beside = sidecars.clone();
            add(&mut beside, &wanted);
            raise(&mut peak, beside);
        }
    }
    raise(&mut total, peak);
    if let Some(resources) = &spec.resources {
        let whole = with_limits(resources.requests.as_ref(), resources.limits.as_ref())?;
        total.extend(whole);
    }
    add(&mut total, &amounts(spec.overhead.as_ref())?);
    Ok(total)
}

fn wants(container: &Container) -> Result<Amounts, AmountError> {
    let Some(resources) = &container.resources else {
        return Ok(Amounts::new());
    };
    with_limits(resources.requests.as_ref(), resources.limits.as_ref())
}

/// Requests; where one is missing, the limit stands in, as the apiserver's defaults have it.
fn with_limits(
    requests: Option<&BTreeMap<String, Quantity>>,
    limits: Option<&BTreeMap<String, Quantity>>,
) -> Result<Amounts, AmountError> {
    let mut wanted = amounts(limits)?;
    wanted.extend(amounts(requests)?);
    Ok(wanted)
}

fn amounts(wire: Option<&BTreeMap<String, Quantity>>) -> Result<Amounts, AmountError> {
    wire.into_iter()
        .flatten()
        .map(|(resource, amount)| match quantity::milli(&amount.0) {
            Some(milli) => Ok((resource.clone(), milli)),
            None => Err(AmountError {
                resource: resource.clone(),
                found: amount.0.clone(),
            }),
        })
        .collect()
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (resource, amount) in more {
        *total.entry(resource.clone()).or_default() += amount;
    }
}

fn raise(total: &mut Amounts, to: Amounts) {
    for (resource, amount) in to {
        let most = total.entry(resource).or_default();
        *most = (*most).max(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn node(json: Value) -> Scheduler {
        let mut scheduler = Scheduler::default();
        scheduler.add_node(serde_json::from_value(json).unwrap()).unwrap();
        scheduler
    }

    #[expect(clippy::needless_pass_by_value, reason = "json! makes a value")]
    fn pod(spec: Value) -> Pod {
        let mut pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [] } });
        pod["spec"]
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        serde_json::from_value(pod).unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "json! makes a value")]
    fn wants(resources: Value) -> Value {
        json!({ "name": "c", "resources": { "requests": resources } })
    }

    const FITS: &[&str] = &[];

    #[rstest]
    #[case::plain(json!({}), FITS)]
    #[case::other_node(json!({ "nodeName": "m" }), &["node(s) didn't match the requested node name"])]
    #[case::selected(json!({ "nodeSelector": { "zone": "a" } }), FITS)]
    #[case::not_selected(json!({ "nodeSelector": { "zone": "b" } }), &["node(s) didn't match Pod's node affinity/selector"])]
    #[case::fits_exactly(json!({ "containers": [wants(json!({ "cpu": "1500m" })), wants(json!({ "cpu": "0.5" }))] }), FITS)]
    #[case::several_shortages(
        json!({ "containers": [wants(json!({ "cpu": "3", "memory": "2Gi", "example.com/vf": 2, "example.com/none": 1 }))] }),
        &["Insufficient cpu", "Insufficient example.com/none", "Insufficient example.com/vf", "Insufficient memory"]
    )]
    #[case::nothing_of_what_is_not_there(json!({ "containers": [wants(json!({ "example.com/none": 0 }))] }), FITS)]
    #[case::limits_stand_in(
        json!({ "containers": [{ "name": "c", "resources": { "limits": { "example.com/vf": 2 } } }] }),
        &["Insufficient example.com/vf"]
    )]
    #[case::an_init_container_takes_its_turn(
        json!({ "initContainers": [wants(json!({ "cpu": 2 }))], "containers": [wants(json!({ "cpu": 2 }))] }),
        FITS
    )]
    #[case::a_sidecar_does_not(
        json!({
            "initContainers": [{ "name": "s", "restartPolicy": "Always", "resources": { "requests": { "cpu": 1 } } }],
            "containers": [wants(json!({ "cpu": 2 }))],
        }),
        &["Insufficient cpu"]
    )]
    #[case::overhead_counts(
        json!({ "overhead": { "cpu": "1m" }, "containers": [wants(json!({ "cpu": 2 }))] }),
        &["Insufficient cpu"]
    )]
    fn a_node_with_two_cpus_and_one_vf(#[case] spec: Value, #[case] reasons: &[&str]) {
        let scheduler = node(json!({
            "metadata": { "name": "n", "labels": { "zone": "a" } },
            "status": { "allocatable": { "cpu": "2", "memory": "1Gi", "pods": "2", "example.com/vf": "1" } },
        }));
        let filtered = scheduler.filter(&pod(spec)).unwrap();
        let found = filtered.refused.get("n").cloned().unwrap_or_default();
        assert_eq!(found, reasons);
        assert_eq!(filtered.fits.is_empty(), !reasons.is_empty());
    }

    #[test]
    fn pods_on_a_node_take_from_it_until_they_end() {
        let mut scheduler = node(json!({
            "metadata": { "name": "n" },
            "status": { "allocatable": { "cpu": "2", "pods": "1" } },
        }));
        let wanted = pod(json!({ "nodeName": "n", "containers": [wants(json!({ "cpu": 2 }))] }));
        let mut ended = wanted.clone();
        ended.status = serde_json::from_value(json!({ "phase": "Succeeded" })).unwrap();
        scheduler.seat(&ended).unwrap();
        assert_eq!(scheduler.filter(&wanted).unwrap().fits, ["n"]);
        scheduler.seat(&wanted).unwrap();
        assert_eq!(
            scheduler.filter(&wanted).unwrap().refused["n"],
            ["Too many pods", "Insufficient cpu"]
        );
    }

    #[rstest]
    #[case::none(json!([]), false)]
    #[case::same(json!([{ "key": "gpu", "value": "a", "effect": "NoSchedule" }]), true)]
    #[case::any_effect(json!([{ "key": "gpu", "value": "a" }]), true)]
    #[case::other_effect(json!([{ "key": "gpu", "value": "a", "effect": "NoExecute" }]), false)]
    #[case::other_value(json!([{ "key": "gpu", "value": "b" }]), false)]
    #[case::whatever_value(json!([{ "key": "gpu", "operator": "Exists" }]), true)]
    #[case::everything(json!([{ "operator": "Exists" }]), true)]
    #[case::an_empty_key_equals_nothing(json!([{ "value": "a" }]), false)]
    fn taints_are_tolerated_by_name(#[case] tolerations: Value, #[case] fits: bool) {
        let scheduler = node(json!({
            "metadata": { "name": "n" },
            "spec": { "taints": [
                { "key": "gpu", "value": "a", "effect": "NoSchedule" },
                { "key": "soft", "effect": "PreferNoSchedule" },
            ] },
        }));
        let filtered = scheduler
            .filter(&pod(json!({ "tolerations": tolerations })))
            .unwrap();
        assert_eq!(filtered.fits.len(), usize::from(fits), "{filtered:?}");
    }

    #[test]
    fn a_cordoned_node_takes_only_who_tolerates_it() {
        let scheduler = node(json!({ "metadata": { "name": "n" }, "spec": { "unschedulable": true } }));
        let filtered = scheduler.filter(&pod(json!({}))).unwrap();
        assert_eq!(filtered.refused["n"], ["node(s) were unschedulable"]);
        let tolerant = json!({ "tolerations": [{ "key": UNSCHEDULABLE, "operator": "Exists" }] });
        assert_eq!(scheduler.filter(&pod(tolerant)).unwrap().fits, ["n"]);
    }

    #[rstest]
    #[case::one_term_is_enough(json!([
        { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["b"] }] },
        { "matchExpressions": [{ "key": "rank", "operator": "Gt", "values": ["4"] }] },
    ]), true)]
    #[case::all_of_a_term(json!([{ "matchExpressions": [
        { "key": "zone", "operator": "Exists" },
        { "key": "rank", "operator": "Lt", "values": ["5"] },
    ] }]), false)]
    #[case::not_in_takes_the_unlabelled(json!([{ "matchExpressions": [
        { "key": "color", "operator": "NotIn", "values": ["red"] },
        { "key": "color", "operator": "DoesNotExist" },
    ] }]), true)]
    #[case::by_field(json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["n"] }] }]), true)]
    #[case::an_empty_term_selects_nothing(json!([{}]), false)]
    #[case::no_term_selects_nothing(json!([]), false)]
    fn required_node_affinity(#[case] terms: Value, #[case] fits: bool) {
        let scheduler = node(json!({ "metadata": { "name": "n", "labels": { "zone": "a", "rank": "5" } } }));
        let affinity = json!({ "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
        } } });
        let filtered = scheduler.filter(&pod(affinity)).unwrap();
        assert_eq!(filtered.fits.len(), usize::from(fits), "{filtered:?}");
    }

    #[test]
    fn an_amount_that_cannot_be_read_is_named() {
        let spec = json!({ "containers": [wants(json!({ "cpu": "many" }))] });
        let error = Scheduler::default().filter(&pod(spec)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cpu: \"many\" is not an amount such as 500m, 8 or 2Gi"
        );
    }
}
