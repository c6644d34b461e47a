//! What each node would give a pod of one shape if nothing were promised, kept between decisions: the pods of a gang
//! are alike, and from one to the next little changes. Brought up to date node by node; a decision by a survey is the
//! same as one without.

mod standing;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::standing::Counting;
pub(super) use self::standing::{Class, Standing, pools_on, sets_of, slots, use_of, vfs};

use super::amounts::Amounts;
use super::claim::{Apart, Claim, Claims, Demand, VfNeed};
use super::cluster::ClusterSnapshot;
use super::fitness::modes_told;
use super::names::{InterfaceName, NetworkRef, NodeName, PoolName, ResourceName};
use super::node::Node;
use super::pod::Pod;
use super::policy::Tier;
use super::reason::Refusal;
use super::roster::Roster;
use super::selector::{Labels, Selector};
use super::settings::Settings;
use super::suits::NodeNeeds;
use super::supply::PoolSet;

/// How many shapes are kept in mind, the latest: as many kinds of pods as may wait side by side.
const KEPT: usize = 16;

/// The surveys in use, and the nodes they are about.
#[derive(Debug, Default)]
pub struct Surveys {
    roster: Roster,
    claims: Claims,
    /// The one used last comes last.
    kept: Vec<Survey>,
}

/// A survey, and the nodes it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    pub(super) roster: &'a Roster,
    pub(super) survey: &'a Survey,
}

/// One shape's.
#[derive(Debug)]
pub(super) struct Survey {
    shape: Shape,
    /// Up to which change it is up to date, and by which places.
    seen: Option<u64>,
    edition: u64,
    modes_told: bool,
    by_pools: ByPools,
    classes: Vec<Class>,
    numbers: BTreeMap<Arc<[(InterfaceName, PoolSet)]>, usize>,
    /// By the nodes' places; nothing at an empty one.
    standings: Vec<Option<Standing>>,
    /// Apart, because they are added up over many nodes: how many such pods fit, by what counts.
    slots: Vec<[u32; 2]>,
    /// The slots of each domain, by level and by what counts, once somebody has asked.
    sums: Vec<[OnceCell<Vec<u32>>; 2]>,
}

/// All of a claim that what a node can give depends on.
#[derive(Debug)]
struct Shape {
    takes: Amounts,
    needs: NodeNeeds,
    vfs: BTreeMap<ResourceName, VfNeed>,
    exclusive: Option<NetworkRef>,
    demands: Vec<(InterfaceName, Apart, Vec<PoolName>)>,
}

/// The values of some labels on a node.
type Values = Vec<Option<String>>;

/// The number of a class, or why the node is in none.
type ClassOr = Result<usize, Arc<Refusal>>;

/// How the pools tell nodes apart.
#[derive(Debug)]
enum ByPools {
    /// By the values of these labels; what they were found to mean.
    Labels(Vec<String>, BTreeMap<Values, ClassOr>),
    /// One by one: some pool names its nodes.
    Nodes,
}

impl Surveys {
    /// The nodes of this snapshot, and what they can give the claim; none for a pod that has addresses already, or where
    /// nobody writes down what changes.
    pub(super) fn of(
        &mut self,
        claim: &Claim,
        snapshot: &ClusterSnapshot,
        settings: &Settings,
    ) -> Option<Ground<'_>> {
        snapshot.changes.now()?;
        // One that has an address of its only pool gets that one again.
        if !claim.kept.is_empty() || snapshot.holding.contains_key(&claim.pod.uid) {
            return None;
        }
        self.roster.catch_up(snapshot, settings);
        let known = self.kept.iter().position(|survey| survey.shape.is_of(claim));
        let mut survey = match known {
            Some(known) => self.kept.remove(known),
            None => Survey::new(claim),
        };
        survey.catch_up(&self.roster, claim, snapshot, settings);
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(survey);
        Some(Ground {
            roster: &self.roster,
            survey: self.kept.last()?,
        })
    }

    /// What `pod` needs, as [`super::claim::claim`] says it.
    ///
    /// # Errors
    /// As there.
    pub(super) fn claim(
        &mut self,
        pod: &Pod,
        snapshot: &ClusterSnapshot,
        settings: &Settings,
    ) -> Result<Claim, Refusal> {
        self.claims.of(pod, snapshot, settings)
    }

    /// These nodes, as candidates for a decision by this snapshot.
    #[must_use]
    pub fn candidates<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
        snapshot: &ClusterSnapshot,
        settings: &Settings,
    ) -> Candidates {
        if snapshot.changes.now().is_some() {
            self.roster.catch_up(snapshot, settings);
        }
        let known = |name: &'n str| {
            let place = self.roster.place(name);
            let known = place.and_then(|place| self.roster.name(place));
            (known.cloned().unwrap_or_else(|| name.into()), place)
        };
        let (names, places) = names.into_iter().map(known).unzip();
        Candidates {
            names,
            places,
            edition: self.roster.edition(),
        }
    }

    /// All nodes of the domains of this tier that these nodes are in; all there are, where none of these is in any or
    /// nobody writes down what changes.
    #[must_use]
    pub fn around(
        &mut self,
        nodes: &[NodeName],
        tier: &Tier,
        snapshot: &ClusterSnapshot,
        settings: &Settings,
    ) -> Candidates {
        let everywhere = |surveys: &mut Self| {
            surveys.candidates(snapshot.nodes.keys().map(NodeName::as_str), snapshot, settings)
        };
        if snapshot.changes.now().is_none() {
            return everywhere(self);
        }
        self.roster.catch_up(snapshot, settings);
        let level = self.roster.tiers().level(tier);
        let Some(domains) = level.and_then(|level| self.roster.level(level)) else {
            return everywhere(self);
        };
        let number = |node: &NodeName| domains.of(self.roster.place(node.as_str())?);
        let numbers: BTreeSet<usize> = nodes.iter().filter_map(number).collect();
        let places = numbers.iter().flat_map(|number| domains.members(*number));
        let known = |place: &usize| Some((self.roster.name(*place)?.clone(), Some(*place)));
        let (names, places): (Vec<NodeName>, Vec<Option<usize>>) = places.filter_map(known).unzip();
        if names.is_empty() {
            return everywhere(self);
        }
        Candidates {
            names,
            places,
            edition: self.roster.edition(),
        }
    }
}

/// Nodes that are asked about, with their places; the names are the nodes' own, so that none is copied.
#[derive(Debug)]
pub struct Candidates {
    names: Vec<NodeName>,
    places: Vec<Option<usize>>,
    edition: u64,
}

impl Candidates {
    /// Their names, in the order given.
    #[must_use]
    pub fn names(&self) -> &[NodeName] {
        &self.names
    }

    /// Their places in a roster, if that is the one they were looked up in.
    pub(super) fn places_in(&self, roster: &Roster) -> Option<&[Option<usize>]> {
        (self.edition == roster.edition()).then_some(self.places.as_slice())
    }

    /// Gives up the places.
    #[must_use]
    pub fn into_names(self) -> Vec<NodeName> {
        self.names
    }
}

impl Shape {
    fn of(claim: &Claim) -> Self {
        let pools = |demand: &Demand| demand.candidates.iter().map(|pool| pool.name.clone()).collect();
        let demands = claim.demands.iter();
        Self {
            takes: claim.takes.clone(),
            needs: claim.needs.clone(),
            vfs: claim.vfs.clone(),
            exclusive: claim.exclusive.clone(),
            demands: demands
                .map(|demand| (demand.interface.clone(), demand.apart, pools(demand)))
                .collect(),
        }
    }

    fn is_of(&self, claim: &Claim) -> bool {
        let alike = |((interface, apart, pools), demand): (&(_, _, Vec<PoolName>), &Demand)| {
            (interface, *apart) == (&demand.interface, demand.apart)
                && pools.iter().eq(demand.candidates.iter().map(|pool| &pool.name))
        };
        (&self.takes, &self.vfs, &self.exclusive) == (&claim.takes, &claim.vfs, &claim.exclusive)
            && self.needs == claim.needs
            && self.demands.len() == claim.demands.len()
            && self.demands.iter().zip(claim.demands.iter()).all(alike)
    }
}

impl ByPools {
    fn of(claim: &Claim) -> Self {
        let mut keys: BTreeSet<&str> = BTreeSet::new();
        let candidates = claim.demands.iter().flat_map(|demand| &demand.candidates);
        for facts in candidates.filter_map(|pool| pool.reading.as_ref().ok()) {
            if !facts.nodes.names.is_empty() {
                return Self::Nodes;
            }
            keys.extend(facts.nodes.selector.iter().flat_map(Selector::keys));
        }
        Self::Labels(keys.into_iter().map(str::to_owned).collect(), BTreeMap::new())
    }

    /// What was found for other nodes with these labels.
    fn known(&self, labels: &Labels) -> (Option<Values>, Option<ClassOr>) {
        match self {
            Self::Nodes => (None, None),
            Self::Labels(keys, known) => {
                let values: Values = keys.iter().map(|key| labels.get(key).cloned()).collect();
                let found = known.get(&values).cloned();
                (Some(values), found)
            }
        }
    }
}

impl Survey {
    fn new(claim: &Claim) -> Self {
        Self {
            shape: Shape::of(claim),
            seen: None,
            edition: 0,
            modes_told: false,
            by_pools: ByPools::Nodes,
            classes: Vec::new(),
            numbers: BTreeMap::new(),
            standings: Vec::new(),
            slots: Vec::new(),
            sums: Vec::new(),
        }
    }

    fn catch_up(&mut self, roster: &Roster, claim: &Claim, snapshot: &ClusterSnapshot, settings: &Settings) {
        let same_places = self.edition == roster.edition();
        let changed = self
            .seen
            .filter(|_| same_places)
            .and_then(|seen| snapshot.changes.since(seen));
        self.seen = snapshot.changes.now();
        if let Some(names) = changed {
            let places: BTreeSet<usize> = names.filter_map(|name| roster.place(name.as_str())).collect();
            if !places.is_empty() {
                self.sums.clear();
            }
            self.sums.resize_with(roster.tiers().count(), Default::default);
            for place in places {
                self.look_at(place, roster, claim, snapshot, settings);
            }
            return;
        }
        self.edition = roster.edition();
        self.modes_told = modes_told(snapshot);
        self.by_pools = ByPools::of(claim);
        self.classes.clear();
        self.numbers.clear();
        self.standings.clear();
        self.slots.clear();
        self.sums.clear();
        self.sums.resize_with(roster.tiers().count(), Default::default);
        for place in 0..roster.places() {
            self.look_at(place, roster, claim, snapshot, settings);
        }
    }

    fn look_at(
        &mut self,
        place: usize,
        roster: &Roster,
        claim: &Claim,
        snapshot: &ClusterSnapshot,
        settings: &Settings,
    ) {
        let (mut standing, mut slots_there) = (None, [0; 2]);
        if let Some(node) = roster.node(place) {
            let pools = self.class(claim, node);
            if pools.is_ok() {
                slots_there = [Counting::Firm, Counting::All]
                    .map(|counting| slots(claim, node, None, counting, self.modes_told, snapshot, settings));
            }
            standing = Some(Standing {
                vfs: vfs(claim, node, None, self.modes_told, snapshot, settings).map_err(Arc::new),
                pools,
                use_of: use_of(claim, node, snapshot),
            });
        }
        if self.standings.len() <= place {
            self.standings.resize_with(place + 1, || None);
            self.slots.resize(place + 1, [0; 2]);
        }
        if let (Some(at), Some(slots)) = (self.standings.get_mut(place), self.slots.get_mut(place)) {
            (*at, *slots) = (standing, slots_there);
        }
    }

    /// The class of a node by its pools.
    fn class(&mut self, claim: &Claim, node: &Node) -> Result<usize, Arc<Refusal>> {
        let (values, known) = self.by_pools.known(&node.labels);
        if let Some(known) = known {
            return known;
        }
        let class = pools_on(claim, node).map_err(Arc::new).map(|pools| {
            let class = Class::of(pools);
            let next = self.classes.len();
            *self.numbers.entry(Arc::clone(&class.pools)).or_insert_with(|| {
                self.classes.push(class);
                next
            })
        });
        if let (Some(values), ByPools::Labels(_, known)) = (values, &mut self.by_pools) {
            known.insert(values, class.clone());
        }
        class
    }
}

impl<'a> Ground<'a> {
    /// What the node at a place would give.
    pub(super) fn standing(self, place: usize) -> Option<&'a Standing> {
        self.survey.standings.get(place)?.as_ref()
    }

    /// The pools of the node at a place, for each address.
    pub(super) fn sets(self, place: usize) -> Option<&'a [PoolSet]> {
        let class = *self.standing(place)?.pools.as_ref().ok()?;
        self.survey.classes.get(class).map(|class| &class.sets[..])
    }

    /// The classes of nodes by their pools.
    pub(super) fn classes(self) -> &'a [Class] {
        &self.survey.classes
    }

    /// How many such pods the node at a place takes.
    pub(super) fn slots(self, place: usize, counting: Counting) -> u32 {
        let slots = self.survey.slots.get(place);
        slots.map_or(0, |[firm, all]| match counting {
            Counting::Firm => *firm,
            Counting::All => *all,
        })
    }

    /// The same for all nodes of each domain of a level together, by the domain's number.
    pub(super) fn sums(self, level: usize, counting: Counting) -> Vec<u32> {
        let Some(domains) = self.roster.level(level) else {
            return Vec::new();
        };
        let add_up = || {
            let mut sums = vec![0_u32; domains.count()];
            for place in 0..self.roster.places() {
                if let Some(sum) = domains.of(place).and_then(|number| sums.get_mut(number)) {
                    *sum = sum.saturating_add(self.slots(place, counting));
                }
            }
            sums
        };
        let kept = self.survey.sums.get(level).map(|[firm, all]| match counting {
            Counting::Firm => firm,
            Counting::All => all,
        });
        kept.map_or_else(add_up, |kept| kept.get_or_init(add_up).clone())
    }

    /// Some node's state says in which RDMA mode it is.
    pub(super) fn modes_told(self) -> bool {
        self.survey.modes_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::changes::Changes;
    use crate::decide::testing::Cluster;

    #[test]
    fn around_some_nodes_are_all_of_their_domains() {
        let cluster = Cluster::with_rails(1)
            .node_in("a1", 1, "a")
            .node_in("b1", 1, "b")
            .node_in("a2", 1, "a")
            .node_in("c1", 1, "c")
            .node("nowhere", 1);
        let mut snapshot = cluster.snapshot();
        let settings = Settings::default();
        let around = |nodes: &[&str], tier: &Tier, snapshot: &ClusterSnapshot| {
            let nodes: Vec<NodeName> = nodes.iter().map(|node| (*node).into()).collect();
            let around = Surveys::default().around(&nodes, tier, snapshot, &settings);
            let mut names: Vec<String> = around.names().iter().map(ToString::to_string).collect();
            names.sort();
            names.join(" ")
        };
        let all = "a1 a2 b1 c1 nowhere";
        assert_eq!(
            around(&["a1"], &Tier::LeafGroup, &snapshot),
            all,
            "nothing is kept"
        );
        snapshot.changes = Changes::kept();
        assert_eq!(around(&["a1"], &Tier::LeafGroup, &snapshot), "a1 a2");
        assert_eq!(
            around(&["c1", "a2", "nowhere"], &Tier::LeafGroup, &snapshot),
            "a1 a2 c1"
        );
        assert_eq!(around(&["nowhere"], &Tier::LeafGroup, &snapshot), all);
        assert_eq!(around(&["gone"], &Tier::LeafGroup, &snapshot), all);
        let unknown = Tier::Label("example.com/row".into());
        assert_eq!(around(&["a1"], &unknown, &snapshot), all);
    }
}
