//! One pod after the other: admitted, filtered, scored, bound, as kube-apiserver and kube-scheduler would have it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::CallError;
use super::expand::{Cluster, Finding, label, text};
use super::gangs::Gangs;
use super::load::Object;
use super::report::{Admission, Explanation, Placement, PodReport, Report};
use super::servers::Servers;
use super::world::World;
use super::{Input, SimulateError};
use crate::cluster::convert;
use crate::cluster::index::Index;
use crate::cluster::objects::PodObject;
use crate::decide::annotation;
use crate::decide::decision::decide;
use crate::decide::names::{NodeName, PodName, PodRef, PodUid, ResourceName};
use crate::decide::placement::Verdict;
use crate::decide::reason::{Reason, Refusal};
use crate::decide::settings::Settings;
use crate::extender::bind::Binding;

/// Plays the pending pods of a cluster; and the cluster as they leave it.
pub(super) async fn play(cluster: Cluster, input: &Input) -> Result<(Report, Stage), SimulateError> {
    let (mut stage, pending, mut report) = Stage::set(cluster, input).await?;
    for pod in pending {
        report.pods.push(stage.pod(&pod).await?);
    }
    report.gangs = std::mem::take(&mut stage.gangs).into_reports();
    report.unfit = std::mem::take(&mut stage.unfit)
        .into_iter()
        .filter(|(node, _)| !stage.fit_once.contains(node))
        .map(|(_, explanation)| explanation)
        .collect();
    Ok((report, stage))
}

/// Whether a pod waits for the scheduler.
pub(super) fn is_pending(pod: &Value) -> bool {
    text(pod, "/spec/nodeName").is_empty()
        && !["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
        && pod.pointer("/metadata/deletionTimestamp").is_none()
}

/// A cluster in which pods are admitted and placed, one after the other.
pub(super) struct Stage {
    /// Its objects.
    pub(super) world: Arc<World>,
    /// The listeners that are asked.
    pub(super) servers: Servers,
    settings: Arc<Settings>,
    managed: BTreeSet<ResourceName>,
    shuffle: Option<Shuffle>,
    /// Nodes that could take some pod.
    fit_once: BTreeSet<String>,
    /// Nodes that were refused to some pod, with the first reason.
    unfit: BTreeMap<String, Explanation>,
    /// Gangs, as their pods come by.
    gangs: Gangs,
}

#[derive(Deserialize)]
struct Review {
    response: ReviewResponse,
}

#[derive(Deserialize)]
struct ReviewResponse {
    allowed: bool,
    #[serde(default)]
    status: ReviewStatus,
    #[serde(default)]
    warnings: Vec<String>,
    patch: Option<ByteString>,
}

#[derive(Default, Deserialize)]
struct ReviewStatus {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FilterResult {
    node_names: Option<Vec<String>>,
    failed_nodes: Option<BTreeMap<String, String>>,
    failed_and_unresolvable_nodes: Option<BTreeMap<String, String>>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostPriority {
    host: String,
    score: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BindingResult {
    #[serde(default)]
    error: String,
}

impl Stage {
    /// A cluster with its bound pods in place; its pending pods, in order; and a report of what could not be read.
    pub(super) async fn set(
        cluster: Cluster,
        input: &Input,
    ) -> Result<(Self, Vec<Object>, Report), SimulateError> {
        let settings = Arc::new(input.configuration.decisions.clone());
        let index = Arc::new(Index::new(Arc::clone(&settings)));
        let world = Arc::new(World::new(Arc::clone(&index)));
        let mut report = Report {
            findings: cluster.findings,
            ..Report::default()
        };
        for object in &cluster.objects {
            report.nodes += usize::from(text(&object.json, "/kind") == "Node");
            report.findings.extend(world.add(object).err());
        }
        let (pending, standing): (Vec<Object>, Vec<Object>) =
            cluster.pods.into_iter().partition(|pod| is_pending(&pod.json));
        for pod in &standing {
            report
                .findings
                .extend(world.add_pod(&pod.json).err().map(|problems| Finding {
                    object: label(pod),
                    problems,
                }));
        }
        let managed = index.published().load().network_resources();
        let servers = Servers::start(&index, &world, &settings, input.configuration.reservation).await?;
        let stage = Self {
            world,
            servers,
            settings,
            managed,
            shuffle: input.seed.map(Shuffle),
            fit_once: BTreeSet::new(),
            unfit: BTreeMap::new(),
            gangs: Gangs::default(),
        };
        Ok((stage, pending, report))
    }

    /// What comes of one pod.
    pub(super) async fn pod(&mut self, object: &Object) -> Result<PodReport, SimulateError> {
        let mut report = PodReport {
            namespace: text(&object.json, "/metadata/namespace").to_owned(),
            name: text(&object.json, "/metadata/name").to_owned(),
            admission: Admission::default(),
            placement: None,
            refusals: BTreeMap::new(),
            explanations: Vec::new(),
        };
        let mut pod = object.json.clone();
        report.admission = self.admit(&mut pod).await?;
        if !report.admission.allowed {
            return Ok(report);
        }
        if let Err(problems) = self.world.add_pod(&pod) {
            report.admission.allowed = false;
            report.admission.message = format!("the API server would not take the pod: {problems}");
            return Ok(report);
        }
        let facts = convert::pod::pod(&PodObject::deserialize(&pod).unwrap_or_default(), &self.settings);
        self.servers.ledger.decide(Instant::now(), |snapshot, book| {
            self.gangs
                .arrives(&facts, snapshot, book.commitments(), &self.settings);
        });
        self.place(&pod, &mut report).await?;
        if let Some(placement) = &report.placement {
            let node = NodeName::from(placement.node.as_str());
            self.servers.ledger.decide(Instant::now(), |snapshot, _| {
                self.gangs.placed(&facts, &node, snapshot, &self.settings);
            });
        }
        Ok(report)
    }

    /// Asks the webhook, and patches the pod as the API server would.
    pub(super) async fn admit(&mut self, pod: &mut Value) -> Result<Admission, CallError> {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": text(pod, "/metadata/uid"),
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "resource": { "group": "", "version": "v1", "resource": "pods" },
                "requestKind": { "group": "", "version": "v1", "kind": "Pod" },
                "requestResource": { "group": "", "version": "v1", "resource": "pods" },
                "name": text(pod, "/metadata/name"),
                "namespace": text(pod, "/metadata/namespace"),
                "operation": "CREATE",
                "userInfo": { "username": "simulate" },
                "object": &*pod,
                "oldObject": null,
                "dryRun": false,
                "options": { "apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions" },
            },
        });
        let Review { response } = self.servers.webhook.post("/mutate", &review).await?;
        let mut admission = Admission {
            allowed: response.allowed,
            message: response.status.message,
            warnings: response.warnings,
            patch: Vec::new(),
        };
        if let Some(ByteString(patch)) = response.patch {
            let applied = serde_json::from_slice::<Vec<Value>>(&patch)
                .map_err(|error| error.to_string())
                .and_then(|operations| {
                    admission.patch = operations;
                    serde_json::from_slice::<json_patch::Patch>(&patch).map_err(|error| error.to_string())
                })
                .and_then(|patch| json_patch::patch(pod, &patch).map_err(|error| error.to_string()));
            if let Err(error) = applied {
                admission.allowed = false;
                admission.message = format!("the API server would not apply the patch: {error}");
            }
        }
        Ok(admission)
    }

    /// Finds a node and binds the pod to it.
    async fn place(&mut self, pod: &Value, report: &mut PodReport) -> Result<(), CallError> {
        let gates = pod.pointer("/spec/schedulingGates").and_then(Value::as_array);
        if gates.is_some_and(|gates| !gates.is_empty()) {
            refuse(report, "waiting for scheduling gates", 0);
            return Ok(());
        }
        let filtered = match self.world.filter(pod) {
            Ok(filtered) => filtered,
            Err(problems) => {
                refuse(report, &problems.to_string(), 0);
                return Ok(());
            }
        };
        let uid = PodUid::from(text(pod, "/metadata/uid"));
        for reason in filtered.refused.values().flatten() {
            refuse(report, reason, 1);
        }
        let mut candidates = filtered.fits;
        if candidates.is_empty() {
            if report.refusals.is_empty() {
                refuse(report, "no nodes available to schedule pods", 0);
            }
            return Ok(());
        }
        if let Some(shuffle) = &mut self.shuffle {
            shuffle.mix(&mut candidates);
        }
        let bound = if self.is_managed(pod) {
            self.place_by_extender(pod, candidates, report).await?
        } else {
            candidates.sort_unstable();
            self.bind_by_scheduler(pod, candidates.first().map_or("", String::as_str), report)
        };
        if bound && let Some(pod) = self.world.pod(&uid) {
            report.placement = Some(self.placement(&pod));
        }
        Ok(())
    }

    /// Whether the scheduler asks the extender about this pod.
    fn is_managed(&self, pod: &Value) -> bool {
        let object = PodObject::deserialize(pod).unwrap_or_default();
        let pod = convert::pod::pod(&object, &self.settings);
        pod.takes
            .iter()
            .any(|(resource, _)| self.managed.contains(resource))
    }

    async fn place_by_extender(
        &mut self,
        pod: &Value,
        candidates: Vec<String>,
        report: &mut PodReport,
    ) -> Result<bool, CallError> {
        let question = |names: &[String]| json!({ "Pod": pod, "Nodes": null, "NodeNames": names });
        let asked = question(&candidates);
        let answer: FilterResult = self.servers.extender.post("/filter", &asked).await?;
        if !answer.error.is_empty() {
            refuse(report, &answer.error, candidates.len());
            return Ok(false);
        }
        let failed = [answer.failed_nodes, answer.failed_and_unresolvable_nodes];
        let reasons: BTreeMap<String, String> = failed.into_iter().flatten().flatten().collect();
        for reason in reasons.values() {
            refuse(report, reason, 1);
        }
        let fits = answer.node_names.unwrap_or_default();
        self.fit_once.extend(fits.iter().cloned());
        if fits.is_empty() || reasons.keys().any(|node| !self.unfit.contains_key(node)) {
            self.explain(pod, &candidates, report);
        }
        let node = match fits.as_slice() {
            [] => return Ok(false),
            // The scheduler asks for no scores when there is nothing to choose.
            [only] => only.clone(),
            _ => {
                let scores: Vec<HostPriority> = self
                    .servers
                    .extender
                    .post("/prioritize", &question(&fits))
                    .await?;
                best(fits, &scores)
            }
        };
        let question = json!({
            "PodName": text(pod, "/metadata/name"),
            "PodNamespace": text(pod, "/metadata/namespace"),
            "PodUID": text(pod, "/metadata/uid"),
            "Node": node,
        });
        let answer: BindingResult = self.servers.extender.post("/bind", &question).await?;
        if !answer.error.is_empty() {
            refuse(report, &answer.error, 1);
        }
        Ok(answer.error.is_empty())
    }

    /// What the scheduler does by itself where no extender binds.
    fn bind_by_scheduler(&self, pod: &Value, node: &str, report: &mut PodReport) -> bool {
        let binding = Binding {
            pod: PodRef {
                namespace: text(pod, "/metadata/namespace").into(),
                name: PodName::from(text(pod, "/metadata/name")),
                uid: text(pod, "/metadata/uid").into(),
            },
            node: node.into(),
            annotations: BTreeMap::new(),
        };
        let outcome = self.world.write(&binding);
        if let Err(error) = &outcome {
            refuse(report, &error.to_string(), 1);
        }
        outcome.is_ok()
    }

    /// The long text behind the extender's refusals: one node of each reason, with names and numbers. The wire has
    /// only constant texts, so the same decision is asked for again, here.
    fn explain(&mut self, pod: &Value, candidates: &[String], report: &mut PodReport) {
        let object = PodObject::deserialize(pod).unwrap_or_default();
        let pod = convert::pod::pod(&object, &self.settings);
        let mut names: Vec<NodeName> = candidates.iter().map(|name| name.as_str().into()).collect();
        names.sort_unstable();
        let verdicts = self.servers.ledger.decide(Instant::now(), |snapshot, book| {
            decide(&pod, &names, snapshot, book.commitments(), &self.settings).verdicts
        });
        let mut tally: BTreeMap<Reason, (usize, &NodeName, &Refusal)> = BTreeMap::new();
        for (name, verdict) in &verdicts {
            if let Verdict::Refused(refusal) = verdict {
                if is_of_the_node(refusal.reason()) {
                    self.unfit
                        .entry(name.to_string())
                        .or_insert_with(|| explanation(refusal, 1, name));
                }
                tally.entry(refusal.reason()).or_insert((0, name, refusal)).0 += 1;
            }
        }
        report.explanations = tally
            .into_values()
            .map(|(nodes, example, refusal)| explanation(refusal, nodes, example))
            .collect();
    }

    /// Where a bound pod is, from its own annotations.
    fn placement(&self, pod: &Value) -> Placement {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Record {
            domain: Option<String>,
            pools: BTreeMap<String, Vec<String>>,
        }
        let record: Record = pod
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(annotation::PLACEMENT))
            .and_then(Value::as_str)
            .and_then(|record| serde_json::from_str(record).ok())
            .unwrap_or_default();
        let node = text(pod, "/spec/nodeName").to_owned();
        Placement {
            leaf_group: self.world.leaf_group(&node, &self.settings),
            domain: record.domain,
            pools: record.pools,
            node,
        }
    }
}

/// Whether a reason lies in the state of the node, so that no pod that needs RDMA can use it until it is mended.
fn is_of_the_node(reason: Reason) -> bool {
    match reason {
        Reason::NodeUnknown
        | Reason::NodeStateMissing
        | Reason::NodeStateUnreadable
        | Reason::NodeStateStale
        | Reason::NodeNotReady
        | Reason::DriverNotReady
        | Reason::PluginBlocked
        | Reason::Draining
        | Reason::NotInSync
        | Reason::NotExclusive
        | Reason::SharedPlugin
        | Reason::PfDown
        | Reason::NotInfiniband
        | Reason::GuidUnset
        | Reason::VfsDiffer
        | Reason::MtuDiffers
        | Reason::RailDark
        | Reason::RailInactive
        | Reason::RailDegraded => true,
        Reason::PodUnreadable
        | Reason::NetworkMissing
        | Reason::NetworkUnreadable
        | Reason::PoolChoice
        | Reason::PoolNotForPod
        | Reason::PoolUnreadable
        | Reason::SameAddress
        | Reason::TooFewVfs
        | Reason::PoolNotForNode
        | Reason::PoolEmpty
        | Reason::OutsideDomain
        | Reason::GangNoRoom
        | Reason::TierUnknown
        | Reason::TiersConflict => false,
    }
}

fn explanation(refusal: &Refusal, nodes: usize, example: &NodeName) -> Explanation {
    Explanation {
        reason: refusal.reason().text().to_owned(),
        nodes,
        example: example.to_string(),
        found: refusal.to_string(),
        remedy: refusal.reason().remedy().to_owned(),
    }
}

fn refuse(report: &mut PodReport, reason: &str, nodes: usize) {
    *report.refusals.entry(reason.to_owned()).or_default() += nodes;
}

/// The node of the highest score, of equal ones the first by name; a node without a score has 0.
fn best(nodes: Vec<String>, scores: &[HostPriority]) -> String {
    let scores: BTreeMap<&str, i64> = scores
        .iter()
        .map(|score| (score.host.as_str(), score.score))
        .collect();
    nodes
        .into_iter()
        .max_by_key(|node| {
            (
                scores.get(node.as_str()).copied().unwrap_or(0),
                Reverse(node.clone()),
            )
        })
        .unwrap_or_default()
}

/// Splitmix64: not random, but no two seeds alike, and the same everywhere.
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn mix(&mut self, names: &mut [String]) {
        for last in (1..names.len()).rev() {
            let range = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let other = usize::try_from(self.next() % range).unwrap_or_default();
            names.swap(last, other);
        }
    }
}
