//! Pods: what each takes of its node, and what those that want something of ours wait for or hold.

use std::sync::Arc;

use super::State;
use crate::cluster::index::Key;
use crate::decide::amounts::Amounts;
use crate::decide::cluster::Members;
use crate::decide::names::{NodeName, PodUid};
use crate::decide::pod::{Phase, Pod};
use crate::decide::settings::Settings;

/// A pod as it is kept in mind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// One that decisions may ask about.
    Whole(Arc<Pod>),
    /// One that takes something of a node and wants nothing of ours: most pods of a cluster are of this kind.
    Load(Load),
}

/// All that matters of such a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    uid: PodUid,
    pub(super) node: NodeName,
    pub(super) takes: Arc<Amounts>,
}

impl Kept {
    pub(super) fn uid(&self) -> &PodUid {
        match self {
            Self::Whole(pod) => &pod.at.uid,
            Self::Load(load) => &load.uid,
        }
    }

    /// What it takes, and of which node, once it is bound.
    fn load(&self) -> Option<(&NodeName, &Amounts)> {
        match self {
            Self::Whole(pod) => load(pod),
            Self::Load(load) => Some((&load.node, &load.takes)),
        }
    }
}

impl State {
    /// A pod is new, changed (perhaps another one of the same name) or gone.
    pub(super) fn put_pod(&mut self, key: &Key, pod: Option<Arc<Pod>>, settings: &Settings) {
        let after = pod.as_ref().and_then(|pod| self.kept(pod));
        let before = match after {
            // Most of what is told of pods is about their status.
            Some(after) if self.pods.get(key) == Some(&after) => return,
            Some(after) => self.pods.insert(key.clone(), after),
            None => self.pods.remove(key),
        };
        let ended = matches!(&pod, Some(pod) if pod.phase == Phase::Ended);
        let pod = pod.filter(|pod| matters(pod));
        let takes_the_same = before.as_ref().and_then(Kept::load) == pod.as_deref().and_then(load);
        if let Some(before) = before {
            let uid = before.uid();
            if pod.as_ref().is_none_or(|pod| pod.at.uid != *uid) {
                self.snapshot.gone.insert_mut(uid.clone(), ());
                self.gone.push_back((self.ages, uid.clone()));
            }
            self.snapshot.pending.remove_mut(uid);
            self.snapshot.bound.remove_mut(uid);
            if pod.as_ref().is_some_and(|pod| pod.at.uid == *uid) && !ended {
                self.snapshot.unallocated.remove_mut(uid);
                self.snapshot.unfetched.remove_mut(uid);
            } else if self.snapshot.unallocated.contains_key(uid) {
                self.departed.insert(uid.clone(), 0);
            }
            if let (false, Some((node, takes))) = (takes_the_same, before.load()) {
                self.change_use(node, |used| used.take(takes));
            }
            self.forget(before);
        }
        let Some(pod) = pod else {
            return;
        };
        self.change_gang(&pod, |members, uid| {
            if !pod.leaving && pod.phase != Phase::Ended {
                members.staying.insert(uid.clone(), pod.at.name.clone());
            }
            match &pod.phase {
                Phase::Bound(node) => drop(members.bound.insert(uid.clone(), node.clone())),
                Phase::Pending { .. } => drop(members.pending.insert(uid.clone())),
                Phase::Ended => drop(members.ended.insert(uid.clone())),
            }
        });
        match &pod.phase {
            Phase::Bound(node) => {
                if !takes_the_same {
                    self.change_use(node, |used| used.add(&pod.takes));
                }
                if wants_something(&pod) {
                    // One that was taken for gone is there again: its time is not up.
                    self.departed.remove(&pod.at.uid);
                    self.snapshot
                        .bound
                        .insert_mut(pod.at.uid.clone(), Arc::clone(&pod));
                    self.recheck(&pod.at.uid, settings);
                }
            }
            Phase::Pending { .. } => {
                self.snapshot.pending.insert_mut(pod.at.uid.clone(), pod);
            }
            Phase::Ended => {}
        }
    }

    /// As what a pod is kept; not at all when it does not matter.
    fn kept(&mut self, pod: &Arc<Pod>) -> Option<Kept> {
        if !matters(pod) {
            return None;
        }
        let node = match &pod.phase {
            Phase::Bound(node) if !wants_something(pod) && pod.gang_ref().is_none() => node,
            _ => return Some(Kept::Whole(Arc::clone(pod))),
        };
        let takes = self.loads.get(&pod.takes).cloned().unwrap_or_else(|| {
            let takes = Arc::new(pod.takes.clone());
            self.loads.insert(Arc::clone(&takes));
            takes
        });
        // One text for all pods of a node.
        let known = self.snapshot.used.get_key_value(node);
        let node = known.map_or(node, |(node, _)| node).clone();
        Some(Kept::Load(Load {
            uid: pod.at.uid.clone(),
            node,
            takes,
        }))
    }

    /// A pod is kept no longer as it was.
    fn forget(&mut self, before: Kept) {
        match before {
            Kept::Whole(pod) => self.change_gang(&pod, |members, uid| {
                members.bound.remove(uid);
                members.pending.remove(uid);
                members.ended.remove(uid);
                members.staying.remove(uid);
            }),
            Kept::Load(Load { takes, .. }) => {
                // This one and the set's own.
                if Arc::strong_count(&takes) == 2 {
                    self.loads.remove(&takes);
                }
            }
        }
    }

    fn change_gang(&mut self, pod: &Pod, change: impl FnOnce(&mut Members, &PodUid)) {
        if let Some(gang) = pod.gang_ref() {
            self.snapshot
                .change_members(gang, |members| change(members, &pod.at.uid));
        }
    }
}

/// What a pod takes, and of which node, once it is bound.
fn load(pod: &Pod) -> Option<(&NodeName, &Amounts)> {
    match &pod.phase {
        Phase::Bound(node) => Some((node, &pod.takes)),
        Phase::Pending { .. } | Phase::Ended => None,
    }
}

/// Whether a pod must be kept in mind: it takes something of a node, waits for something of ours, or was part of a
/// gang.
fn matters(pod: &Pod) -> bool {
    match pod.phase {
        Phase::Bound(_) => true,
        Phase::Pending { .. } => wants_something(pod),
        Phase::Ended => matches!(pod.gang, Ok(Some(_))),
    }
}

/// Whether a pod takes anything that only we look at.
pub(super) fn wants_something(pod: &Pod) -> bool {
    pod.takes.iter().any(|(resource, _)| resource.is_extended())
        || pod.default_network.is_some()
        || pod
            .networks
            .as_ref()
            .map_or(true, |networks| !networks.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::objects::Object;

    fn pod(name: &str, uid: &str, node: Option<&str>, cpu: &str) -> Object {
        let object = json!({"metadata": {"name": name, "namespace": "a", "uid": uid},
            "spec": {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": cpu}}}]}});
        Object::Pod(Box::new(serde_json::from_value(object).unwrap()))
    }

    fn used(state: &State, node: &str) -> u64 {
        state.snapshot.used.get(node).map_or(0, |used| used.of("cpu"))
    }

    #[test]
    fn pods_that_want_nothing_of_ours_count_for_their_node_and_share_what_they_take() {
        let settings = Settings::default();
        let mut state = State::new();
        let put = |state: &mut State, pod| state.put(pod, &settings).unwrap();
        for (name, cpu) in [("p", "1"), ("q", "1"), ("r", "2")] {
            put(&mut state, pod(name, name, Some("n1"), cpu));
        }
        assert_eq!((used(&state, "n1"), state.loads.len()), (4000, 2));
        assert!(state.pods.values().all(|kept| matches!(kept, Kept::Load(_))));
        // Another pod of the name, elsewhere.
        put(&mut state, pod("r", "again", Some("n2"), "3"));
        assert_eq!((used(&state, "n1"), used(&state, "n2")), (2000, 3000));
        assert!(state.snapshot.gone.contains_key("r"));
        for name in ["p", "q", "r"] {
            state.remove(
                crate::cluster::objects::Kind::Pod,
                &("a".to_owned(), name.to_owned()),
                &settings,
            );
        }
        assert_eq!((used(&state, "n1"), used(&state, "n2")), (0, 0));
        assert!(state.loads.is_empty() && state.snapshot.used.is_empty());
    }

    #[test]
    fn what_a_pod_takes_follows_it_when_it_is_resized() {
        let settings = Settings::default();
        let mut state = State::new();
        for cpu in ["1", "1", "4"] {
            state.put(pod("p", "p", Some("n1"), cpu), &settings).unwrap();
        }
        assert_eq!((used(&state, "n1"), state.loads.len()), (4000, 1));
    }
}
