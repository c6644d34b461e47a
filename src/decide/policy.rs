//! What a pod asks of us: its own `pointsman.io/` annotations, with its namespace's as defaults, key by key.

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;
use std::collections::BTreeMap;

use super::annotation;
use super::names::{ContainerName, GangName, ProfileName};
use super::problem::{Problem, Problems, quoted};

/// Annotations of one object.
pub type Annotations = BTreeMap<String, String>;

/// What a pod that opted in asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPolicy {
    /// Which networks.
    pub wanted: Wanted,
    /// How many of the profile's rails.
    pub rails: Rails,
    /// The container that gets the VFs, where it is named.
    pub container: Option<ContainerName>,
    /// Fabric locality of the gang, where it is given.
    pub locality: Option<Locality>,
    /// The gang, where it is named.
    pub gang: Option<GangName>,
    /// The size of the gang, where it is given.
    pub gang_size: Option<NonZeroU32>,
    /// The key of Spiderpool's on the pod or its namespace, which Spiderpool's own webhook goes by, too.
    pub spiderpool_key: Option<&'static str>,
}

/// Which networks a pod gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of a profile, besides its own.
    Profile(ProfileName),
    /// Those it lists itself; what they need is completed.
    OwnNetworks,
}

/// How many of a profile's rails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rails {
    /// Every one.
    #[default]
    All,
    /// So many, those with the most free VFs.
    Count(NonZeroU32),
}

/// Where a gang may run, relative to the fabric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locality {
    /// Inside one domain of the tier, or not at all.
    Required(Tier),
    /// Inside one domain of the tier, if that can be.
    Preferred(Tier),
    /// Anywhere.
    None,
}

/// A level of the fabric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The closest.
    LeafGroup,
    /// The next.
    Spine,
    /// The third.
    Core,
    /// The one that the nodes carry under this label key.
    Label(String),
}

/// A text that is not among the values its key accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is not among those accepted")]
pub struct NotAccepted;

/// Spiderpool looks for the first and, where it is present, ignores the second.
const SPIDERPOOL_KEYS: [&str; 2] = [
    annotation::SPIDERPOOL_RDMA_INJECT,
    annotation::SPIDERPOOL_NETWORK_INJECT,
];

/// Reads the policy of a pod. A pod that does not opt in has none.
///
/// # Errors
/// Everything that is wrong with either object's annotations.
pub fn read(pod: &Annotations, namespace: &Annotations) -> Result<Option<PodPolicy>, Problems> {
    let mut reader = Reader {
        pod,
        namespace,
        problems: records_not_ours(pod),
    };
    let inject: Option<Inject> = reader.value(annotation::INJECT);
    if inject == Some(Inject::No) {
        reader.refuse_record_of_nothing();
        return reader.problems.or(None);
    }
    reader.refuse_unknown_keys();
    let profile = reader.profile();
    let spiderpool_key = reader.spiderpool_key();
    let rails = reader.value(annotation::RAILS);
    let container: Option<Name> = reader.value(annotation::CONTAINER);
    let locality = reader.value(annotation::LOCALITY);
    let gang: Option<LabelValue> = reader.value(annotation::GANG);
    let gang_size = reader.value(annotation::GANG_SIZE);

    let wanted = match (profile, inject) {
        (Some(profile), _) => Wanted::Profile(profile),
        (None, Some(Inject::Yes)) => Wanted::OwnNetworks,
        (None, _) => {
            // A pod that tried to opt in is told about that alone.
            if reader.problems.is_empty() {
                reader.refuse_record_of_nothing();
                reader.refuse_keys_without_effect();
            }
            return reader.problems.or(None);
        }
    };
    reader.problems.or(Some(PodPolicy {
        wanted,
        rails: rails.unwrap_or_default(),
        container: container.map(|Name(name)| name.into()),
        locality,
        gang: gang.map(|LabelValue(name)| name.into()),
        gang_size: gang_size.map(|GangSize(size)| size),
        spiderpool_key,
    }))
}

/// Reads the defaults a namespace gives its pods, every key whether any pod would use it or not: what cannot be read
/// is told when it is written. The profile, where there is one.
///
/// # Errors
/// Everything that is wrong with our keys; those of others are theirs to judge.
pub fn read_defaults(namespace: &Annotations) -> Result<Option<ProfileName>, Problems> {
    let ours: Annotations = namespace
        .iter()
        .filter(|(key, _)| key.starts_with(annotation::DOMAIN))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut reader = Reader {
        pod: &Annotations::new(),
        namespace: &ours,
        problems: Problems::none(),
    };
    reader.refuse_unknown_keys();
    let profile = reader.profile();
    reader.value::<Inject>(annotation::INJECT);
    reader.value::<Rails>(annotation::RAILS);
    reader.value::<Name>(annotation::CONTAINER);
    reader.value::<Locality>(annotation::LOCALITY);
    reader.value::<LabelValue>(annotation::GANG);
    reader.value::<GangSize>(annotation::GANG_SIZE);
    reader.problems.or(profile)
}

/// What may be written under one of [`annotation::POLICY_KEYS`], in the words an error uses.
#[must_use]
pub fn expected(key: &str) -> Option<&'static str> {
    Some(match key {
        annotation::PROFILE => "the name of one profile",
        annotation::INJECT => Inject::EXPECTED,
        annotation::RAILS => Rails::EXPECTED,
        annotation::CONTAINER => Name::EXPECTED,
        annotation::LOCALITY => Locality::EXPECTED,
        annotation::GANG => LabelValue::EXPECTED,
        annotation::GANG_SIZE => GangSize::EXPECTED,
        _ => return None,
    })
}

/// The records that only a placed pod may carry: on a pod that is being created they are somebody else's.
fn records_not_ours(pod: &Annotations) -> Problems {
    let mut problems = Problems::none();
    for key in [annotation::PLACEMENT, annotation::FABRIC_POSITION] {
        if let Some(value) = pod.get(key) {
            problems.push(Problem::new(
                format!("pod annotation {key}"),
                quoted(value),
                "no such annotation on a pod that is being created: it is written when the pod is placed",
                "remove the annotation",
            ));
        }
    }
    problems
}

/// Takes values from the pod, else from the namespace, and collects what is wrong with them.
struct Reader<'a> {
    pod: &'a Annotations,
    namespace: &'a Annotations,
    problems: Problems,
}

impl<'a> Reader<'a> {
    fn find(&self, key: &str) -> Option<(&'static str, &'a str)> {
        let on =
            |scope, annotations: &'a Annotations| annotations.get(key).map(|text| (scope, text.as_str()));
        on("pod", self.pod).or_else(|| on("namespace", self.namespace))
    }

    fn value<T: Value>(&mut self, key: &str) -> Option<T> {
        let (scope, text) = self.find(key)?;
        if let Ok(value) = text.trim().parse() {
            return Some(value);
        }
        self.problems.push(Problem::new(
            format!("{scope} annotation {key}"),
            quoted(text),
            T::EXPECTED,
            "mend the value, or remove the annotation",
        ));
        None
    }

    /// The profile, by our key or by one of Spiderpool's; the pod's keys before the namespace's.
    fn profile(&mut self) -> Option<ProfileName> {
        for (scope, annotations) in [("pod", self.pod), ("namespace", self.namespace)] {
            let mut keys = [annotation::PROFILE].into_iter().chain(SPIDERPOOL_KEYS);
            let Some((key, text)) = keys.find_map(|key| Some((key, annotations.get(key)?))) else {
                continue;
            };
            if let Ok(Name(name)) = text.trim().parse() {
                return Some(name.into());
            }
            self.problems.push(Problem::new(
                format!("{scope} annotation {key}"),
                quoted(text),
                "the name of one profile",
                "name the profile whose networks the pod shall have, or remove the annotation",
            ));
            return None;
        }
        None
    }

    fn spiderpool_key(&self) -> Option<&'static str> {
        SPIDERPOOL_KEYS.into_iter().find(|key| self.find(key).is_some())
    }

    fn refuse_unknown_keys(&mut self) {
        let known = |key: &str| annotation::POLICY_KEYS.contains(&key);
        for (scope, annotations) in [("pod", self.pod), ("namespace", self.namespace)] {
            for (key, value) in annotations {
                let ours = key.starts_with(annotation::DOMAIN);
                let written = scope == "pod" && annotation::WRITTEN_KEYS.contains(&key.as_str());
                if ours && !written && !known(key) {
                    self.problems.push(Problem::new(
                        format!("{scope} annotation {key}"),
                        quoted(value),
                        format!("one of the keys {}", annotation::POLICY_KEYS.join(", ")),
                        "correct the key, or remove the annotation",
                    ));
                }
            }
        }
    }

    /// The record of an injection on a pod that asks for none: whoever reads it must be able to believe it.
    fn refuse_record_of_nothing(&mut self) {
        if let Some(value) = self.pod.get(annotation::INJECTED) {
            self.problems.push(Problem::new(
                format!("pod annotation {}", annotation::INJECTED),
                quoted(value),
                "no such annotation on a pod that asks for no injection",
                "remove the annotation",
            ));
        }
    }

    /// Keys that say how to attach networks, on a pod that asks for none. (A gang may well have members
    /// without RDMA, such as a launcher.)
    fn refuse_keys_without_effect(&mut self) {
        for key in [annotation::RAILS, annotation::CONTAINER, annotation::LOCALITY] {
            if let Some(value) = self.pod.get(key) {
                self.problems.push(Problem::new(
                    format!("pod annotation {key}"),
                    quoted(value),
                    format!(
                        "{} or {}: \"true\" beside it, without which it has no effect",
                        annotation::PROFILE,
                        annotation::INJECT
                    ),
                    "add one of them, or remove the annotation",
                ));
            }
        }
    }
}

/// A value of one of our keys.
trait Value: FromStr {
    /// What a person may write.
    const EXPECTED: &'static str;
}

/// `pointsman.io/inject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inject {
    Yes,
    No,
}

impl Value for Inject {
    const EXPECTED: &'static str = "\"true\" or \"false\"";
}

impl FromStr for Inject {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        match text {
            "true" => Ok(Self::Yes),
            "false" => Ok(Self::No),
            _ => Err(NotAccepted),
        }
    }
}

/// A name that is only ever looked up; one that cannot exist is reported as one that does not.
struct Name(String);

impl Value for Name {
    const EXPECTED: &'static str = "a name";
}

impl FromStr for Name {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == ',') {
            return Err(NotAccepted);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A name that becomes the value of a label.
struct LabelValue(String);

impl Value for LabelValue {
    const EXPECTED: &'static str =
        "at most 63 letters, digits, dashes, dots and underscores, with a letter or digit at both ends";
}

impl FromStr for LabelValue {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        is_qualified_name(text)
            .then(|| Self(text.to_owned()))
            .ok_or(NotAccepted)
    }
}

/// `pointsman.io/gang-size`.
struct GangSize(NonZeroU32);

impl Value for GangSize {
    const EXPECTED: &'static str = "a number of pods from 1";
}

impl FromStr for GangSize {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        number(text).map(Self)
    }
}

impl Value for Rails {
    const EXPECTED: &'static str = "all, or a number of rails from 1";
}

impl FromStr for Rails {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        match text {
            "all" => Ok(Self::All),
            text => number(text).map(Self::Count),
        }
    }
}

impl fmt::Display for Rails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Count(count) => count.fmt(f),
        }
    }
}

impl Value for Locality {
    const EXPECTED: &'static str = "none, required=TIER or preferred=TIER, where TIER is leaf-group, spine, core or \
                                    the node label key of a tier";
}

impl FromStr for Locality {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        match text.split_once('=') {
            None if text == "none" => Ok(Self::None),
            Some(("required", tier)) => tier.parse().map(Self::Required),
            Some(("preferred", tier)) => tier.parse().map(Self::Preferred),
            _ => Err(NotAccepted),
        }
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required(tier) => write!(f, "required={tier}"),
            Self::Preferred(tier) => write!(f, "preferred={tier}"),
            Self::None => f.write_str("none"),
        }
    }
}

impl FromStr for Tier {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        match text {
            "leaf-group" => Ok(Self::LeafGroup),
            "spine" => Ok(Self::Spine),
            "core" => Ok(Self::Core),
            key if is_label_key(key) => Ok(Self::Label(key.to_owned())),
            _ => Err(NotAccepted),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeafGroup => "leaf-group",
            Self::Spine => "spine",
            Self::Core => "core",
            Self::Label(key) => key,
        })
    }
}

/// Digits only: Rust's own parser takes a plus sign, which no other tool around takes.
fn number(text: &str) -> Result<NonZeroU32, NotAccepted> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotAccepted);
    }
    text.parse().map_err(|_| NotAccepted)
}

/// A label key with a prefix: every tier has one, and a bare word is more likely a tier misspelled.
fn is_label_key(text: &str) -> bool {
    text.split_once('/').is_some_and(|(prefix, name)| {
        let label = |label: &str| is_qualified_name(label) && !label.contains(['_', '.']);
        prefix.len() <= 253 && prefix.split('.').all(label) && is_qualified_name(name)
    })
}

/// The form Kubernetes gives a label's value and the name part of its key.
fn is_qualified_name(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn annotations(pairs: &[(&str, &str)]) -> Annotations {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn wanted(pod: &[(&str, &str)], namespace: &[(&str, &str)]) -> Option<Wanted> {
        read(&annotations(pod), &annotations(namespace))
            .unwrap()
            .map(|policy| policy.wanted)
    }

    fn profile(name: &str) -> Wanted {
        Wanted::Profile(name.into())
    }

    #[rstest]
    #[case::nothing(&[], &[], None)]
    #[case::foreign(&[("team", "a")], &[("owner", "b")], None)]
    #[case::on_the_pod(&[("pointsman.io/profile", "p")], &[], Some(profile("p")))]
    #[case::blanks_around(&[("pointsman.io/profile", " p\n")], &[], Some(profile("p")))]
    #[case::by_default(&[], &[("pointsman.io/profile", "p")], Some(profile("p")))]
    #[case::the_pod_wins(&[("pointsman.io/profile", "p")], &[("pointsman.io/profile", "q")], Some(profile("p")))]
    #[case::own_networks(&[("pointsman.io/inject", "true")], &[], Some(Wanted::OwnNetworks))]
    #[case::own_networks_by_default(&[], &[("pointsman.io/inject", "true")], Some(Wanted::OwnNetworks))]
    #[case::left_alone(&[("pointsman.io/inject", "false")], &[("pointsman.io/profile", "p")], None)]
    #[case::left_alone_whatever_else(&[("pointsman.io/inject", "false"), ("pointsman.io/x", "y")], &[], None)]
    #[case::all_left_alone(&[("pointsman.io/profile", "p")], &[("pointsman.io/inject", "false")], None)]
    #[case::taken_back_in(
        &[("pointsman.io/profile", "p"), ("pointsman.io/inject", "true")],
        &[("pointsman.io/inject", "false")],
        Some(profile("p"))
    )]
    #[case::a_launcher_of_a_gang(&[("pointsman.io/gang", "g"), ("pointsman.io/gang-size", "8")], &[], None)]
    #[case::defaults_that_nobody_uses(&[], &[("pointsman.io/rails", "4")], None)]
    #[case::spiderpool(&[("cni.spidernet.io/rdma-resource-inject", "p")], &[], Some(profile("p")))]
    #[case::spiderpool_second_key(&[("cni.spidernet.io/network-resource-inject", "p")], &[], Some(profile("p")))]
    #[case::spiderpool_first_key_wins(
        &[("cni.spidernet.io/network-resource-inject", "p"), ("cni.spidernet.io/rdma-resource-inject", "q")],
        &[],
        Some(profile("q"))
    )]
    #[case::ours_before_spiderpools(
        &[("cni.spidernet.io/rdma-resource-inject", "p"), ("pointsman.io/profile", "q")],
        &[],
        Some(profile("q"))
    )]
    #[case::the_pods_spiderpool_key_before_the_namespaces(
        &[("cni.spidernet.io/rdma-resource-inject", "p")],
        &[("pointsman.io/profile", "q")],
        Some(profile("p"))
    )]
    #[case::patched_before(&[("pointsman.io/profile", "p"), ("pointsman.io/injected", "{}")], &[], Some(profile("p")))]
    fn knows_who_asks_for_what(
        #[case] pod: &[(&str, &str)],
        #[case] namespace: &[(&str, &str)],
        #[case] expected: Option<Wanted>,
    ) {
        assert_eq!(wanted(pod, namespace), expected);
    }

    #[test]
    fn every_key_has_its_value() {
        let pod = annotations(&[
            ("pointsman.io/profile", "eight-rails"),
            ("pointsman.io/rails", "4"),
            ("pointsman.io/container", "trainer"),
            ("pointsman.io/gang", "llama"),
        ]);
        let namespace = annotations(&[
            ("pointsman.io/locality", "required=leaf-group"),
            ("pointsman.io/gang-size", "16"),
            ("pointsman.io/container", "main"),
        ]);
        assert_eq!(
            read(&pod, &namespace).unwrap().unwrap(),
            PodPolicy {
                wanted: Wanted::Profile("eight-rails".into()),
                rails: Rails::Count(NonZeroU32::new(4).unwrap()),
                container: Some("trainer".into()),
                locality: Some(Locality::Required(Tier::LeafGroup)),
                gang: Some("llama".into()),
                gang_size: NonZeroU32::new(16),
                spiderpool_key: None,
            }
        );
    }

    #[test]
    fn says_that_a_key_is_spiderpools() {
        let pod = annotations(&[("cni.spidernet.io/rdma-resource-inject", "p")]);
        let policy = read(&pod, &Annotations::new()).unwrap().unwrap();
        assert_eq!(
            policy.spiderpool_key,
            Some("cni.spidernet.io/rdma-resource-inject")
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let pod = annotations(&[
            ("pointsman.io/profile", ""),
            ("pointsman.io/rails", "0"),
            ("pointsman.io/container", "a b"),
            ("pointsman.io/gang", "-"),
            ("pointsman.io/gang-size", "+8"),
            ("pointsman.io/placement", "{}"),
        ]);
        let namespace = annotations(&[
            ("pointsman.io/locality", "required"),
            ("pointsman.io/inject", "yes"),
            ("pointsman.io/profil", "p"),
        ]);
        let problems = read(&pod, &namespace).unwrap_err().to_string();
        insta::assert_snapshot!(problems.replace(" | ", "\n"), @r#"
        pod annotation pointsman.io/placement: found "{}", expected no such annotation on a pod that is being created: it is written when the pod is placed; remove the annotation
        namespace annotation pointsman.io/inject: found "yes", expected "true" or "false"; mend the value, or remove the annotation
        namespace annotation pointsman.io/profil: found "p", expected one of the keys pointsman.io/profile, pointsman.io/inject, pointsman.io/rails, pointsman.io/container, pointsman.io/locality, pointsman.io/gang, pointsman.io/gang-size; correct the key, or remove the annotation
        pod annotation pointsman.io/profile: found "", expected the name of one profile; name the profile whose networks the pod shall have, or remove the annotation
        pod annotation pointsman.io/rails: found "0", expected all, or a number of rails from 1; mend the value, or remove the annotation
        pod annotation pointsman.io/container: found "a b", expected a name; mend the value, or remove the annotation
        namespace annotation pointsman.io/locality: found "required", expected none, required=TIER or preferred=TIER, where TIER is leaf-group, spine, core or the node label key of a tier; mend the value, or remove the annotation
        pod annotation pointsman.io/gang: found "-", expected at most 63 letters, digits, dashes, dots and underscores, with a letter or digit at both ends; mend the value, or remove the annotation
        pod annotation pointsman.io/gang-size: found "+8", expected a number of pods from 1; mend the value, or remove the annotation
        "#);
    }

    #[test]
    fn a_key_without_effect_is_told() {
        let pod = annotations(&[("pointsman.io/rails", "4")]);
        let problems = read(&pod, &Annotations::new()).unwrap_err().to_string();
        insta::assert_snapshot!(problems, @r#"pod annotation pointsman.io/rails: found "4", expected pointsman.io/profile or pointsman.io/inject: "true" beside it, without which it has no effect; add one of them, or remove the annotation"#);
    }

    #[rstest]
    #[case(&[("pointsman.io/injected", "{}")])]
    #[case(&[("pointsman.io/injected", "{}"), ("pointsman.io/inject", "false")])]
    fn a_record_of_nothing_is_refused(#[case] pod: &[(&str, &str)]) {
        assert!(read(&annotations(pod), &Annotations::new()).is_err());
    }

    #[test]
    fn a_forged_placement_is_refused_even_where_the_pod_is_left_alone() {
        let pod = annotations(&[("pointsman.io/inject", "false"), ("pointsman.io/placement", "{}")]);
        assert!(read(&pod, &Annotations::new()).is_err());
    }

    #[rstest]
    #[case("")]
    #[case("All")]
    #[case("-1")]
    #[case("4294967296")]
    fn refuses_rails(#[case] text: &str) {
        assert_eq!(text.parse::<Rails>(), Err(NotAccepted));
    }

    #[rstest]
    #[case("required=")]
    #[case("required=leafgroup")]
    #[case("required=/x")]
    #[case("required=a/b/c")]
    #[case("Preferred=spine")]
    #[case("leaf-group")]
    fn refuses_localities(#[case] text: &str) {
        assert_eq!(text.parse::<Locality>(), Err(NotAccepted));
    }

    fn rails() -> impl Strategy<Value = Rails> {
        prop_oneof![
            Just(Rails::All),
            (1_u32..).prop_map(|count| Rails::Count(NonZeroU32::new(count).unwrap())),
        ]
    }

    fn tier() -> impl Strategy<Value = Tier> {
        prop_oneof![
            Just(Tier::LeafGroup),
            Just(Tier::Spine),
            Just(Tier::Core),
            "[a-z0-9]{1,9}(\\.[a-z]{1,5}){0,3}/[A-Za-z0-9]([-_.A-Za-z0-9]{0,60}[a-z])?".prop_map(Tier::Label),
        ]
    }

    fn locality() -> impl Strategy<Value = Locality> {
        prop_oneof![
            Just(Locality::None),
            tier().prop_map(Locality::Required),
            tier().prop_map(Locality::Preferred),
        ]
    }

    proptest! {
        #[test]
        fn rails_print_what_they_parse(rails in rails()) {
            prop_assert_eq!(rails.to_string().parse::<Rails>(), Ok(rails));
        }

        #[test]
        fn localities_print_what_they_parse(locality in locality()) {
            prop_assert_eq!(locality.to_string().parse::<Locality>(), Ok(locality));
        }

        #[test]
        fn never_panics(
            values in prop::collection::vec(prop_oneof!["\\PC{0,20}", "(required|preferred|none|all|true|[0-9]{1,12}|[=/.a-z])*"], 8),
        ) {
            let keys = annotation::POLICY_KEYS.iter().chain(&["pointsman.io/unknown"]);
            let pod: Annotations = keys.map(|key| (*key).to_owned()).zip(values).collect();
            let _ = read(&pod, &Annotations::new());
        }
    }
}
