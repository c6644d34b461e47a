//! What is said once when it begins and once when it ends: fabric data that has become too old to refuse nodes by, and
//! nodes that are labelled for another topology than the one in use.

use tracing::{info, warn};

use crate::decide::cluster::ClusterSnapshot;
use crate::decide::links;
use crate::decide::settings::Settings;
use crate::decide::tier::Conflict;
use crate::telemetry::metrics::Metrics;

/// What has been said.
#[derive(Debug, Default)]
pub struct Notices {
    stale: bool,
    conflict: Option<Conflict>,
}

impl Notices {
    /// Looks at a snapshot, and says what has changed; true where something has.
    pub fn look(&mut self, snapshot: &ClusterSnapshot, settings: &Settings, metrics: &Metrics) -> bool {
        let stale = links::is_stale(snapshot, settings);
        let conflict = Conflict::of(&settings.tiers, snapshot);
        let looked_at = snapshot.fabric.map_or(0, |fabric| fabric.unix_seconds);
        metrics.fabric_looked_at(looked_at, stale);
        metrics.tier_conflict(conflict.as_ref().map_or(0, Conflict::nodes));
        let changed = (stale, &conflict) != (self.stale, &self.conflict);
        if stale != self.stale {
            let hours = settings.links.max_age.as_secs() / 3600;
            if stale {
                warn!(
                    max_age_hours = hours,
                    "fabric data is older than fabric.maxAge: nodes with bad links are avoided, and not refused any more; import the fabric again"
                );
            } else {
                info!("fabric data is fresh again: nodes with bad links are refused");
            }
        }
        if conflict != self.conflict {
            if let Some(conflict) = &conflict {
                warn!(
                    %conflict,
                    "nodes carry labels of several fabric topologies: gangs that require locality wait; set locality.preset or locality.tiers in the configuration"
                );
            } else {
                info!("all nodes with fabric labels are labelled for one topology again");
            }
        }
        (self.stale, self.conflict) = (stale, conflict);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::links::LookedAt;
    use crate::decide::testing::Cluster;
    use core::time::Duration;

    #[test]
    fn each_is_said_once_when_it_begins_and_once_when_it_ends() {
        let (mut notices, settings, metrics) = (Notices::default(), Settings::default(), Metrics::new());
        let mut look = |cluster: &Cluster, hours: u64| {
            let mut snapshot = cluster.snapshot();
            snapshot.fabric = Some(LookedAt {
                unix_seconds: 5,
                age: Duration::from_hours(hours),
            });
            let changed = notices.look(&snapshot, &settings, &metrics);
            let text = metrics.exposition().unwrap();
            let value = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap();
                line.rsplit_once(' ').unwrap().1.to_owned()
            };
            (
                changed,
                value("pointsman_fabric_data_stale"),
                value("pointsman_tier_conflict_nodes"),
            )
        };
        let told = |changed, stale: &str, nodes: &str| (changed, stale.to_owned(), nodes.to_owned());
        let one = Cluster::with_rails(1).node_in("n1", 8, "a");
        let two = one
            .clone()
            .node("n2", 8)
            .labelled("n2", "fabric.topograph.run/tier-0", "b");
        assert_eq!(look(&one, 1), told(false, "0", "0"));
        assert_eq!(look(&two, 25), told(true, "1", "1"));
        assert_eq!(look(&two, 26), told(false, "1", "1"));
        assert_eq!(look(&one, 1), told(true, "0", "0"));
    }
}
