//! The gang a pod belongs to without being told: by whoever made the pod, or by the conventions of the schedulers
//! its user may come from. The first that speaks counts.

use super::{
    Annotations, ClusterSnapshot, Findings, GangChange, PodFacts, PodPolicy, Problem, Settings, annotation,
};
use crate::decide::names::GangRef;
use crate::decide::policy::{Locality, Tier};
use crate::decide::selector::Labels;
use crate::decide::tier::Tiers;

/// Labels that name a pod's group in other schedulers' conventions: scheduler-plugins' coscheduling (new and old).
pub(in crate::decide) const GROUP_LABELS: [&str; 2] = [
    "scheduling.x-k8s.io/pod-group",
    "pod-group.scheduling.sigs.k8s.io/name",
];
/// Annotations that do: Volcano's, and KAI's.
pub(in crate::decide) const GROUP_ANNOTATIONS: [&str; 2] = ["scheduling.k8s.io/group-name", "pod-group-name"];
/// Coscheduling's own size.
pub(in crate::decide) const GROUP_SIZE: &str = "pod-group.scheduling.sigs.k8s.io/min-available";

pub(in crate::decide) const JOB_SET: &str = "jobset.sigs.k8s.io/jobset-name";
pub(in crate::decide) const LEADER_WORKER_SET: &str = "leaderworkerset.sigs.k8s.io/name";
const LEADER_WORKER_GROUP: &str = "leaderworkerset.sigs.k8s.io/group-index";
pub(in crate::decide) const LEADER_WORKER_SIZE: &str = "leaderworkerset.sigs.k8s.io/size";
pub(in crate::decide) const TRAINING_JOB: &str = "training.kubeflow.org/job-name";

/// Kueue's and KAI's ways to ask for locality; the value is the label key of a tier.
pub(in crate::decide) const REQUIRED_ALIASES: [&str; 2] = [
    "kueue.x-k8s.io/podset-required-topology",
    "kai.scheduler/topology-required-placement",
];
pub(in crate::decide) const PREFERRED_ALIASES: [&str; 2] = [
    "kueue.x-k8s.io/podset-preferred-topology",
    "kai.scheduler/topology-preferred-placement",
];
pub(in crate::decide) const UNCONSTRAINED_ALIAS: &str = "kueue.x-k8s.io/podset-unconstrained-topology";

/// The longest value a label can have.
const LONGEST_LABEL: usize = 63;

/// The controller that made a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its API group; empty for the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A gang that was found, before its size and locality are settled.
struct Found {
    name: String,
    size: Option<u32>,
    /// Kubernetes' own PodGroups place their pods themselves.
    by_scheduler: bool,
    /// The Job that would tell the size is not known yet.
    pending: bool,
}

/// The gang of the pod; and whether a newer snapshot may tell its size.
pub(super) fn of(
    pod: &PodFacts,
    policy: &PodPolicy,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Option<(GangChange, bool)> {
    let found = found(pod, policy, snapshot)?;
    let size = policy.gang_size.map(core::num::NonZeroU32::get).or(found.size);
    // One pod is close to itself.
    if size == Some(1) {
        return None;
    }
    let locality = if found.by_scheduler {
        Locality::None
    } else {
        let asked = policy.locality.clone();
        let asked =
            asked.or_else(|| alias(&pod.annotations).filter(|alias| is_ours(alias, snapshot, settings)));
        asked.unwrap_or_else(|| settings.locality.clone())
    };
    let change = GangChange {
        name: label_value(&found.name).into(),
        size,
        locality,
    };
    Some((change, found.pending && policy.gang_size.is_none()))
}

fn found(pod: &PodFacts, policy: &PodPolicy, snapshot: &ClusterSnapshot) -> Option<Found> {
    let label = |key: &str| pod.labels.get(key).filter(|value| !value.is_empty());
    let named = |name: &str, size: Option<u32>| Found {
        name: name.to_owned(),
        size,
        by_scheduler: false,
        pending: false,
    };
    if let Some(gang) = &policy.gang {
        // Its pods may still be those of a Job, which then tells how many they are.
        let job = by_job(pod, snapshot);
        return Some(Found {
            name: gang.as_str().to_owned(),
            ..job.unwrap_or_else(|| named("", None))
        });
    }
    if let Some(group) = &pod.pod_group {
        return Some(Found {
            by_scheduler: true,
            ..named(group, None)
        });
    }
    let group = GROUP_LABELS
        .iter()
        .find_map(|key| label(key))
        .or_else(|| GROUP_ANNOTATIONS.iter().find_map(|key| pod.annotations.get(*key)));
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        return Some(named(group, number(&pod.labels, GROUP_SIZE)));
    }
    if let Some(set) = label(JOB_SET) {
        return Some(named(set, None));
    }
    if let Some(set) = label(LEADER_WORKER_SET) {
        // Each group of leader and workers talks among itself.
        let name = label(LEADER_WORKER_GROUP).map_or_else(|| set.clone(), |group| format!("{set}-{group}"));
        let size = pod
            .annotations
            .get(LEADER_WORKER_SIZE)
            .and_then(|size| size.parse().ok());
        return Some(named(&name, size));
    }
    if let Some(job) = label(TRAINING_JOB) {
        return Some(named(job, None));
    }
    by_job(pod, snapshot).or_else(|| {
        let owner = pod.owner.as_ref()?;
        let stateful = owner.group == "apps" && owner.kind == "StatefulSet";
        stateful.then(|| named(&owner.name, None))
    })
}

fn by_job(pod: &PodFacts, snapshot: &ClusterSnapshot) -> Option<Found> {
    let owner = pod
        .owner
        .as_ref()
        .filter(|owner| owner.group == "batch" && owner.kind == "Job")?;
    let size = snapshot
        .jobs
        .get(&(pod.namespace.clone(), owner.name.as_str().into()))
        .copied();
    Some(Found {
        name: owner.name.clone(),
        size,
        by_scheduler: false,
        pending: size.is_none(),
    })
}

fn number(labels: &Labels, key: &str) -> Option<u32> {
    labels.get(key)?.parse().ok().filter(|number| *number > 0)
}

fn alias(annotations: &Annotations) -> Option<Locality> {
    let tier = |keys: &[&str]| {
        let value = keys.iter().find_map(|key| annotations.get(*key))?;
        (!value.is_empty()).then(|| Tier::Label(value.clone()))
    };
    tier(&REQUIRED_ALIASES)
        .map(Locality::Required)
        .or_else(|| tier(&PREFERRED_ALIASES).map(Locality::Preferred))
        .or_else(|| {
            let free = annotations
                .get(UNCONSTRAINED_ALIAS)
                .is_some_and(|value| value == "true");
            free.then_some(Locality::None)
        })
}

/// Whether an alias names a tier we know. Kueue's levels may as well be something else, a host or a zone, and are then
/// Kueue's alone. Where nodes are not watched no tier can be told from another label.
fn is_ours(alias: &Locality, snapshot: &ClusterSnapshot, settings: &Settings) -> bool {
    match alias {
        Locality::Required(tier) | Locality::Preferred(tier) => {
            snapshot.nodes.is_empty() || Tiers::of(&settings.tiers, snapshot).level(tier).is_some()
        }
        Locality::None => true,
    }
}

/// A name as a label can carry it. One that is too long keeps its beginning and gets a number made of all of it, so
/// that two long names stay two.
fn label_value(name: &str) -> String {
    if name.len() <= LONGEST_LABEL {
        return name.to_owned();
    }
    // FNV-1a: stable across versions and machines, which the standard library's hasher is not.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let kept: String = name.chars().take(LONGEST_LABEL - 17).collect();
    format!(
        "{}-{hash:016x}",
        kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
    )
}

impl Findings {
    /// A pod that says its gang has no more pods than are there already. Only what a person has written counts: a Job's
    /// parallelism is what it is, and another scheduler's least number may be exceeded.
    ///
    /// Pods that have ended or are being deleted do not count, as the next may be in their place; nor does one of the
    /// pod's own name. A controller that brings up new pods before it takes old ones down (rolling updates) exceeds the
    /// size for a while, and is told only. What the watch is behind, patience makes up for: controllers try again.
    pub(super) fn gang_size(
        &mut self,
        pod: &PodFacts,
        policy: &PodPolicy,
        gang: Option<&GangChange>,
        snapshot: &ClusterSnapshot,
    ) -> Option<String> {
        let (gang, size) = (gang?, policy.gang_size?.get());
        let at = GangRef {
            namespace: pod.namespace.clone(),
            name: gang.name.clone(),
        };
        let staying = &snapshot.gangs.get(&at)?.staying;
        let others = staying.values().filter(|name| pod.name.as_ref() != Some(*name));
        let others = u32::try_from(others.count()).unwrap_or(u32::MAX);
        if others < size {
            return None;
        }
        let surges = |owner: &Owner| SURGING.contains(&owner.kind.as_str());
        if pod.owner.as_ref().is_some_and(surges) {
            return Some(format!(
                "gang {} is said to have {size} pods, and {others} are there: until a rolling update is over some pods of it \
                 have no place kept for them",
                gang.name
            ));
        }
        self.unknown_yet(Problem::new(
            format!("annotation {}", annotation::GANG_SIZE),
            size.to_string(),
            format!(
                "more than the {others} pods of gang {} that are there already",
                gang.name
            ),
            format!(
                "say how many pods the gang has, or name another one with {}",
                annotation::GANG
            ),
        ));
        None
    }
}

/// Controllers that bring up new pods before they take old ones down.
const SURGING: [&str; 3] = ["ReplicaSet", "ReplicationController", "DaemonSet"];

/// What the user should know about the gang.
pub(super) fn warning(gang: Option<&GangChange>, pending: bool) -> Option<String> {
    let gang = gang.filter(|gang| gang.size.is_none())?;
    let how = match gang.locality {
        Locality::Required(_) => "in the domain of the first",
        Locality::Preferred(_) => "near those that are placed",
        Locality::None => return None,
    };
    let why = if pending {
        "its Job is not known yet"
    } else {
        "nothing says how many pods it has"
    };
    Some(format!(
        "the size of gang {} is not known ({why}): its pods are placed one by one, {how}; set {}",
        gang.name,
        annotation::GANG_SIZE
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decide::cluster::Members;
    use rstest::rstest;

    fn pod(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> PodFacts {
        let own = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        PodFacts {
            labels: own(labels),
            annotations: own(annotations),
            ..PodFacts::bare("hpc")
        }
    }

    fn gang(pod: &PodFacts) -> Option<(String, Option<u32>, String)> {
        gang_in(pod, &ClusterSnapshot::default())
    }

    fn gang_in(pod: &PodFacts, snapshot: &ClusterSnapshot) -> Option<(String, Option<u32>, String)> {
        let mut annotations = pod.annotations.clone();
        annotations.insert("pointsman.io/profile".into(), "p".into());
        let policy = crate::decide::policy::read(&annotations, &Annotations::new())
            .unwrap()
            .unwrap();
        let (gang, _) = of(pod, &policy, snapshot, &Settings::default())?;
        Some((gang.name.to_string(), gang.size, gang.locality.to_string()))
    }

    #[rstest]
    #[case::coscheduling(&[("scheduling.x-k8s.io/pod-group", "g")], &[], "g", None)]
    #[case::old_coscheduling(&[("pod-group.scheduling.sigs.k8s.io/name", "g"), ("pod-group.scheduling.sigs.k8s.io/min-available", "4")], &[], "g", Some(4))]
    #[case::volcano(&[], &[("scheduling.k8s.io/group-name", "g")], "g", None)]
    #[case::kai(&[], &[("pod-group-name", "g")], "g", None)]
    #[case::job_set(&[("jobset.sigs.k8s.io/jobset-name", "s")], &[], "s", None)]
    #[case::leader_worker_set(&[("leaderworkerset.sigs.k8s.io/name", "l"), ("leaderworkerset.sigs.k8s.io/group-index", "2")], &[("leaderworkerset.sigs.k8s.io/size", "8")], "l-2", Some(8))]
    #[case::pytorch_job(&[("training.kubeflow.org/job-name", "t")], &[], "t", None)]
    #[case::told_before_all(&[("jobset.sigs.k8s.io/jobset-name", "s")], &[("pointsman.io/gang", "mine"), ("pointsman.io/gang-size", "3")], "mine", Some(3))]
    fn knows_the_gang_by(
        #[case] labels: &[(&str, &str)],
        #[case] annotations: &[(&str, &str)],
        #[case] name: &str,
        #[case] size: Option<u32>,
    ) {
        let expected = (name.to_owned(), size, "preferred=leaf-group".to_owned());
        assert_eq!(gang(&pod(labels, annotations)), Some(expected));
    }

    fn of_job(name: &str) -> PodFacts {
        let owner = Owner {
            group: "batch".into(),
            kind: "Job".into(),
            name: name.into(),
        };
        PodFacts {
            owner: Some(owner),
            ..pod(&[], &[])
        }
    }

    #[test]
    fn a_jobs_pods_are_a_gang_of_its_parallelism() {
        let mut snapshot = ClusterSnapshot::default();
        snapshot.jobs.insert_mut(("hpc".into(), "train".into()), 8);
        snapshot.jobs.insert_mut(("hpc".into(), "single".into()), 1);
        assert_eq!(gang_in(&of_job("train"), &snapshot).unwrap().1, Some(8));
        assert_eq!(gang_in(&of_job("single"), &snapshot), None);
        assert_eq!(gang_in(&of_job("unknown"), &snapshot).unwrap().1, None);
    }

    #[test]
    fn a_pod_group_of_kubernetes_leaves_locality_to_the_scheduler() {
        let pod = PodFacts {
            pod_group: Some("g".into()),
            ..pod(&[], &[("pointsman.io/locality", "required=leaf-group")])
        };
        assert_eq!(gang(&pod), Some(("g".into(), None, "none".into())));
    }

    #[test]
    fn kueues_and_kais_keys_are_aliases_of_locality_and_ours_wins() {
        let with = |annotations: &[(&str, &str)]| {
            let mut pod = pod(&[("jobset.sigs.k8s.io/jobset-name", "s")], annotations);
            pod.namespace = "hpc".into();
            gang(&pod).unwrap().2
        };
        assert_eq!(
            with(&[("kueue.x-k8s.io/podset-required-topology", "x.io/leaf")]),
            "required=x.io/leaf"
        );
        assert_eq!(
            with(&[("kai.scheduler/topology-preferred-placement", "x.io/leaf")]),
            "preferred=x.io/leaf"
        );
        assert_eq!(
            with(&[("kueue.x-k8s.io/podset-unconstrained-topology", "true")]),
            "none"
        );
        assert_eq!(
            with(&[
                ("kueue.x-k8s.io/podset-required-topology", "x.io/leaf"),
                ("pointsman.io/locality", "preferred=spine")
            ]),
            "preferred=spine"
        );
    }

    #[test]
    fn an_alias_for_what_is_no_tier_is_its_schedulers_alone() {
        let mut pod = of_job("train");
        pod.annotations.insert(
            "kueue.x-k8s.io/podset-required-topology".into(),
            "kubernetes.io/hostname".into(),
        );
        let mut snapshot = crate::decide::testing::Cluster::with_rails(1)
            .node("n1", 1)
            .snapshot();
        snapshot.jobs.insert_mut(("hpc".into(), "train".into()), 8);
        assert_eq!(gang_in(&pod, &snapshot).unwrap().2, "preferred=leaf-group");
    }

    #[test]
    fn a_name_too_long_for_a_label_stays_its_own() {
        let long = "a".repeat(80);
        let (one, other) = (label_value(&format!("{long}1")), label_value(&format!("{long}2")));
        assert!(one.len() <= LONGEST_LABEL && other.len() <= LONGEST_LABEL);
        assert_ne!(one, other);
        assert_eq!(label_value("short"), "short");
    }

    /// What a pod of a gang that says it has two pods is told, where these are there.
    fn told(others: &[&str], pod: &PodFacts) -> (Option<String>, String) {
        let mut members = Members::default();
        for name in others {
            members
                .staying
                .insert(format!("uid-{name}").as_str().into(), (*name).into());
        }
        let mut snapshot = ClusterSnapshot::default();
        let at = |namespace: &str| GangRef {
            namespace: namespace.into(),
            name: "g".into(),
        };
        snapshot.gangs.insert_mut(at("hpc"), Arc::new(members.clone()));
        members.staying.insert("x".into(), "x".into());
        snapshot.gangs.insert_mut(at("elsewhere"), Arc::new(members));
        let mut annotations = pod.annotations.clone();
        annotations.insert("pointsman.io/profile".into(), "p".into());
        let policy = crate::decide::policy::read(&annotations, &Annotations::new())
            .unwrap()
            .unwrap();
        let change = of(pod, &policy, &snapshot, &Settings::default());
        let mut findings = Findings::default();
        let warning = findings.gang_size(pod, &policy, change.as_ref().map(|(gang, _)| gang), &snapshot);
        (warning, findings.into_parts().0.to_string())
    }

    #[test]
    fn a_gang_gets_no_more_pods_than_it_says_it_has() {
        let asks = || {
            pod(
                &[],
                &[("pointsman.io/gang", "g"), ("pointsman.io/gang-size", "2")],
            )
        };
        let nothing = (None, String::new());
        assert_eq!(told(&["a"], &asks()), nothing);
        let (_, denied) = told(&["a", "b"], &asks());
        assert_eq!(
            denied,
            "annotation pointsman.io/gang-size: found 2, expected more than the 2 pods of gang g that are there already; \
             say how many pods the gang has, or name another one with pointsman.io/gang"
        );
        // It is one of the two.
        let again = PodFacts {
            name: Some("b".into()),
            ..asks()
        };
        assert_eq!(told(&["a", "b"], &again), nothing);
        let owner = Owner {
            group: "apps".into(),
            kind: "ReplicaSet".into(),
            name: "r".into(),
        };
        let (warning, denied) = told(
            &["a", "b"],
            &PodFacts {
                owner: Some(owner),
                ..asks()
            },
        );
        assert!(warning.unwrap().contains("rolling update") && denied.is_empty());
        let unsaid = pod(
            &[
                ("pod-group.scheduling.sigs.k8s.io/name", "g"),
                ("pod-group.scheduling.sigs.k8s.io/min-available", "2"),
            ],
            &[],
        );
        assert_eq!(
            told(&["a", "b"], &unsaid),
            nothing,
            "a least number may be exceeded"
        );
    }
}
