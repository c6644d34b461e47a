//! What a pod of a StatefulSet keeps of the addresses that were given under its name before.
//!
//! Spiderpool's agent is asked for one interface after the other, and looks at the SpiderEndpoint of the pod's name
//! first. An address out of a pool that the pod still names for the interface is kept, whatever has become of the pool;
//! one out of another pool is given back, and a new one allocated. With the first interface that keeps its own, the
//! whole record becomes the new pod's. Where the first keeps none, the agent writes a record anew, which it can only
//! where nothing is left of the old one: addresses of other interfaces in it stand in the pod's way for good
//! (`pkg/ipam/allocate.go` of 1.1; tried against the agent itself).

use std::sync::Arc;

use crate::decide::cluster::ClusterSnapshot;
use crate::decide::endpoint::{Endpoint, Kept};
use crate::decide::naming::{At, OF_THE_CLUSTER, Rule, choice, names};
use crate::decide::network::Ipam;
use crate::decide::pod::{Pod, PoolChoice};
use crate::decide::pool::Pool;
use crate::decide::reason::{ChoiceFault, Refusal};

/// The record of one pod's name, as far as the agent has come with it.
pub(super) struct Keeping<'a> {
    /// None where there is none, or none any more.
    endpoint: Option<&'a Endpoint>,
    /// It is the new pod's: what is allocated for further interfaces is written beside what is there.
    taken_over: bool,
}

impl<'a> Keeping<'a> {
    pub(super) fn of(pod: &Pod, snapshot: &'a ClusterSnapshot) -> Self {
        let at = (pod.at.namespace.clone(), pod.at.name.clone());
        let endpoint = if pod.stateful {
            snapshot.endpoints.get(&at).map(AsRef::as_ref)
        } else {
            None
        };
        // The cluster's own network may be Spiderpool's without any network of the pod saying so; it comes first.
        let first_is_elsewhere = |kept: &Kept| kept.interface.as_str() == OF_THE_CLUSTER;
        let taken_over = pod.default_network.is_none()
            && endpoint.is_some_and(|endpoint| endpoint.addresses.iter().any(first_is_elsewhere));
        Self { endpoint, taken_over }
    }

    /// The pools of the addresses that are kept for an interface; none where it gets new ones. To be asked about the
    /// interfaces in their order.
    ///
    /// # Errors
    /// When the record stands in the way of all new ones, or the agent cannot say which pools the interface has.
    pub(super) fn on(&mut self, at: At<'_>, ipam: &Ipam) -> Result<Vec<Arc<Pool>>, Refusal> {
        let Some(endpoint) = self.endpoint.filter(|_| *ipam != Ipam::Unlimited) else {
            return Ok(Vec::new());
        };
        let own = || {
            let of_interface = |kept: &&Kept| kept.interface == *at.interface;
            endpoint.addresses.iter().filter(of_interface)
        };
        if own().next().is_some() && all_named(own(), at, ipam)? {
            // All that is in the record is looked up when it is taken over.
            let looked_up = endpoint.addresses.iter().filter(|_| !self.taken_over);
            for kept in looked_up.chain(own()) {
                pool_of(kept, at)?;
            }
            self.taken_over = true;
            return own().map(|kept| pool_of(kept, at)).collect();
        }
        if !self.taken_over {
            if own().next().is_none() || own().count() < endpoint.addresses.len() {
                let fault = ChoiceFault::RecordInTheWay;
                return Err(Refusal::PoolChoice(at.interface.clone(), fault));
            }
            self.endpoint = None;
        }
        Ok(Vec::new())
    }
}

/// Whether all these addresses are out of pools that are named for their interface now. Whether it may use them is not
/// asked again.
fn all_named<'k>(mut own: impl Iterator<Item = &'k Kept>, at: At<'_>, ipam: &Ipam) -> Result<bool, Refusal> {
    match choice(at.asker, at.interface, ipam, at.snapshot)? {
        // The pool that was made from a subnet has a name that nobody says.
        None | Some((Rule::Subnet, _)) => Ok(true),
        Some((Rule::Cluster, choice)) if choice == PoolChoice::default() => {
            Err(Refusal::PoolChoice(at.interface.clone(), ChoiceFault::Nothing))
        }
        Some((_, choice)) => own.try_fold(true, |all, kept| {
            Ok(all && names(&choice, &kept.pool, at.interface, at.snapshot)?)
        }),
    }
}

fn pool_of(kept: &Kept, at: At<'_>) -> Result<Arc<Pool>, Refusal> {
    let pool = at.snapshot.pools.get(&kept.pool).cloned();
    pool.ok_or_else(|| Refusal::PoolChoice(at.interface.clone(), ChoiceFault::Missing(kept.pool.clone())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::decide::address::Family;
    use crate::decide::claim::claim;
    use crate::decide::commitment::Commitments;
    use crate::decide::endpoint::{Endpoint, Kept};
    use crate::decide::names::NodeName;
    use crate::decide::network::Ipam;
    use crate::decide::placement::{Verdict, place};
    use crate::decide::pod::{InterfacePools, PoolChoice, PoolRequest};
    use crate::decide::reason::{ChoiceFault, Reason, Refusal};
    use crate::decide::settings::Settings;
    use crate::decide::testing::Cluster;

    /// Two rails, of whose pools no address is free; what pod `web-0` had, by interface and pool.
    fn cluster(had: &[(&str, &str)]) -> Cluster {
        let addresses = had.iter().map(|(interface, pool)| Kept {
            interface: (*interface).into(),
            family: Family::V4,
            pool: (*pool).into(),
        });
        let endpoint = Endpoint {
            addresses: addresses.collect(),
        };
        Cluster::with_rails(2)
            .node("n1", 8)
            .pool("rail0", |facts| facts.free = 0)
            .pool("rail1", |facts| facts.free = 0)
            .pool_named("other", |facts| facts.free = 1)
            .with(|snapshot| {
                snapshot
                    .endpoints
                    .insert_mut(("default".into(), "web-0".into()), Arc::new(endpoint));
            })
    }

    fn points_to(cluster: Cluster, rail: u32, pool: &str) -> Cluster {
        cluster.network(rail, |network| {
            network.ipam = Ipam::Spiderpool {
                v4: vec![pool.to_owned()],
                v6: Vec::new(),
                by_subnet: false,
            };
        })
    }

    /// The pools of the addresses that it keeps and of those that it needs; or why it cannot run.
    fn answer(cluster: &Cluster) -> Result<(Vec<String>, Vec<String>), Refusal> {
        answer_with(cluster, PoolRequest::None)
    }

    fn answer_with(cluster: &Cluster, pools: PoolRequest) -> Result<(Vec<String>, Vec<String>), Refusal> {
        let mut pod = cluster.pod("web-0");
        pod.stateful = true;
        pod.pools = Ok(pools);
        let (snapshot, settings) = (cluster.snapshot(), Settings::default());
        let claim = claim(&pod, &snapshot, &settings)?;
        let node = NodeName::from("n1");
        let (_, verdict) = place(&claim, [&node], &snapshot, &Commitments::default(), &settings).remove(0);
        match verdict {
            Verdict::Fits(fit) => Ok((
                fit.kept.iter().map(|(_, pool)| pool.to_string()).collect(),
                fit.pools.iter().map(|(_, pools)| pools[0].to_string()).collect(),
            )),
            Verdict::Refused(refusal) => Err(Refusal::clone(&refusal)),
        }
    }

    fn texts(kept: &[&str], needed: &[&str]) -> (Vec<String>, Vec<String>) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        (owned(kept), owned(needed))
    }

    const BOTH: [(&str, &str); 2] = [("net1", "rail0"), ("net2", "rail1")];

    #[test]
    fn what_becomes_of_the_pool_does_not_matter_as_long_as_the_pod_names_it() {
        assert_eq!(answer(&cluster(&BOTH)).unwrap(), texts(&["rail0", "rail1"], &[]));
        let closed = cluster(&BOTH).pool("rail0", |facts| facts.disabled = true);
        assert_eq!(answer(&closed).unwrap(), texts(&["rail0", "rail1"], &[]));
        let by_wildcard = points_to(cluster(&BOTH), 0, "rail*");
        assert_eq!(answer(&by_wildcard).unwrap(), texts(&["rail0", "rail1"], &[]));
    }

    #[test]
    fn an_address_out_of_a_pool_that_is_not_named_any_more_is_not_kept() {
        let moved = points_to(cluster(&BOTH), 1, "other");
        assert_eq!(answer(&moved).unwrap(), texts(&["rail0"], &["other"]));
        let full = moved.pool("other", |facts| facts.free = 0);
        assert_eq!(answer(&full).unwrap_err().reason(), Reason::PoolEmpty);
    }

    #[test]
    fn the_first_interface_must_keep_its_own_unless_all_that_is_recorded_is_its_own() {
        let in_the_way = Refusal::PoolChoice("net1".into(), ChoiceFault::RecordInTheWay);
        let moved = points_to(cluster(&BOTH), 0, "other");
        assert_eq!(answer(&moved).unwrap_err(), in_the_way);
        assert_eq!(answer(&cluster(&[("ib0", "rail0")])).unwrap_err(), in_the_way);
        let alone = points_to(cluster(&[("net1", "rail0")]), 0, "other");
        let roomy = alone.pool("rail1", |facts| facts.free = 1);
        assert_eq!(answer(&roomy).unwrap(), texts(&[], &["other", "rail1"]));
        // The cluster's own network comes before it.
        let after_eth0 = points_to(
            cluster(&[("eth0", "rail1"), ("net1", "rail0"), ("net2", "rail1")]),
            0,
            "other",
        );
        assert_eq!(answer(&after_eth0).unwrap(), texts(&["rail1"], &["other"]));
    }

    #[test]
    fn a_new_address_beside_one_that_is_kept_comes_out_of_another_pool() {
        let same = points_to(cluster(&BOTH), 1, "rail0").pool("rail0", |facts| facts.free = 9);
        assert_eq!(answer(&same).unwrap_err().reason(), Reason::SameAddress);
    }

    #[test]
    fn with_a_list_all_are_allocated_for_as_soon_as_one_is_new() {
        let list = |second: &str| {
            let item = |interface: &str, pool: &str| InterfacePools {
                interface: Some(interface.into()),
                choice: PoolChoice {
                    v4: vec![pool.to_owned()],
                    v6: Vec::new(),
                },
            };
            PoolRequest::PerInterface(vec![item("net1", "rail0"), item("net2", second)])
        };
        let closed = cluster(&BOTH).pool("rail0", |facts| facts.disabled = true);
        assert_eq!(
            answer_with(&closed, list("rail1")).unwrap(),
            texts(&["rail0", "rail1"], &[])
        );
        assert_eq!(
            answer_with(&cluster(&BOTH), list("other")).unwrap(),
            texts(&["rail0"], &["other"])
        );
        assert_eq!(
            answer_with(&closed, list("other")).unwrap_err().reason(),
            Reason::PoolNotForPod
        );
    }

    #[test]
    fn what_is_recorded_must_exist() {
        let gone = cluster(&[("net1", "rail0"), ("net7", "gone")]);
        let missing = Refusal::PoolChoice("net1".into(), ChoiceFault::Missing("gone".into()));
        assert_eq!(answer(&gone).unwrap_err(), missing);
    }
}
