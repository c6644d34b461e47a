//! What the user wrote stays as it is written, byte for byte: numbers that no type holds, escapes, the order of keys, and
//! fields that nobody here knows. Only the operations are looked at, on the text as it was sent: whoever applies them
//! without making numbers and maps of it gets the rest back as it was.

use std::sync::LazyLock;

use json_patch::PatchOperation;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cluster::{Cluster, operations};

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::new);

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// JSON as it is spelled, but for blanks between tokens.
#[derive(Clone, Debug, PartialEq)]
enum Text {
    Object(Vec<(String, Self)>),
    List(Vec<Self>),
    Plain(String),
}

impl Text {
    fn of(json: &str) -> Self {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object or a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    pairs.push((key.get().to_owned(), Text::of(value.get())));
                }
                Ok(Text::Object(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element::<&RawValue>()? {
                    items.push(Text::of(item.get()));
                }
                Ok(Text::List(items))
            }
        }
        struct Whole(Text);
        impl<'de> Deserialize<'de> for Whole {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Parts).map(Self)
            }
        }
        if json.starts_with(['{', '[']) {
            serde_json::from_str::<Whole>(json).unwrap().0
        } else {
            Self::Plain(json.to_owned())
        }
    }

    /// The value below a key, or at an index.
    fn below(&mut self, token: &str) -> Option<&mut Self> {
        match self {
            Self::Object(pairs) => pairs
                .iter_mut()
                .find(|(key, _)| serde_json::from_str::<String>(key).unwrap() == token)
                .map(|(_, value)| value),
            Self::List(items) => items.get_mut(token.parse::<usize>().ok()?),
            Self::Plain(_) => None,
        }
    }

    /// Applies an `add`; gives what it replaced, which may only have been a text, a number or nothing.
    fn add(&mut self, path: &str, value: &Value) -> Option<String> {
        let tokens: Vec<String> = path
            .split('/')
            .skip(1)
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        let (last, parents) = tokens.split_last().unwrap();
        let mut at = self;
        for token in parents {
            at = at.below(token).unwrap_or_else(|| panic!("{path} has no parent"));
        }
        let value = Self::of(&value.to_string());
        if let Some(there) = at.below(last) {
            let Self::Plain(before) = there.clone() else {
                panic!("{path} replaces {there:?}")
            };
            *there = value;
            return Some(before);
        }
        match at {
            Self::Object(pairs) => pairs.push((Value::from(last.as_str()).to_string(), value)),
            Self::List(items) => {
                assert_eq!(last, "-", "{path} is inserted between what the user has");
                items.push(value);
            }
            Self::Plain(parent) => panic!("{path} is below {parent}"),
        }
        None
    }

    /// Whether everything of `before` is still there as it was spelled, in its order; what is new comes after it.
    /// `replaced` holds what operations have replaced, by what it was.
    fn keeps(&self, before: &Self, replaced: &[String]) -> bool {
        match (before, self) {
            (Self::Object(old), Self::Object(new)) => {
                let mut rest = new.iter();
                old.len() <= new.len()
                    && old.iter().all(|(key, value)| {
                        rest.next()
                            .is_some_and(|(now, kept)| now == key && kept.keeps(value, replaced))
                    })
            }
            (Self::List(old), Self::List(new)) => {
                old.len() <= new.len() && old.iter().zip(new).all(|(old, new)| new.keeps(old, replaced))
            }
            (Self::Plain(old), new) => *new == Self::Plain(old.clone()) || replaced.contains(old),
            _ => false,
        }
    }
}

/// Has the pod admitted as it is spelled; none where it is denied.
async fn operations_on(pod: &str) -> Option<Vec<(String, Value)>> {
    let review = format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"1b2c","operation":"CREATE",
           "namespace":"t","object":{pod} }}}}"#
    );
    let (_, answer) = CLUSTER.post(review).await;
    let response = &answer["response"];
    let all = operations(response)
        .0
        .into_iter()
        .map(|operation| match operation {
            PatchOperation::Add(add) => (add.path.to_string(), add.value),
            other => panic!("{other:?}"),
        });
    (response["allowed"] == true).then(|| all.collect())
}

/// The user's elements of the list of networks, each as it is spelled.
fn elements(list: &str) -> Vec<String> {
    let elements: Vec<&RawValue> = serde_json::from_str(list).unwrap();
    elements
        .into_iter()
        .map(|element| element.get().to_owned())
        .collect()
}

/// Checks a pod, given by its text and the text of its list of networks.
async fn check(pod: &str, networks: &str) -> bool {
    let before = Text::of(pod);
    let Some(operations) = operations_on(pod).await else {
        return false;
    };
    let mut after = before.clone();
    let replaced: Vec<String> = operations
        .iter()
        .filter_map(|(path, value)| after.add(path, value))
        .collect();
    assert!(
        after.keeps(&before, &replaced),
        "{pod}\nbecame\n{after:?}\nby\n{operations:?}"
    );
    let list = operations.iter().find(|(path, _)| path.ends_with("~1networks"));
    if let Some((_, list)) = list {
        let (old, new) = (elements(networks), elements(list.as_str().unwrap()));
        for (old, new) in old.iter().zip(&new) {
            let kept = new == old || new.starts_with(old.trim_end_matches('}'));
            assert!(kept, "{old}\nbecame\n{new}");
        }
        assert!(new.len() >= old.len());
    }
    true
}

/// A pod with `odd` wherever a later Kubernetes may put a field, and inside an element of its list of networks.
fn pod(odd: &str, interface: &str) -> (String, String) {
    let networks = format!(
        r#"[ {{"x":{odd}, "namespace":"fabric","name" : "plain" ,"cni-args":{{"y":{odd}}}}},{{"name":"rail3","namespace":"fabric",{interface}"z":{odd}}} ]"#
    );
    let quoted = Value::from(networks.as_str()).to_string();
    let pod = format!(
        r#"{{"x":{odd},"kind":"Pod","metadata":{{"z":{odd},"labels":{{"b\/c":"\u0041","a":""}},"generateName":"p-",
           "annotations":{{"z":"\u00fc\/","k8s.v1.cni.cncf.io\/networks":{quoted},"pointsman.io/profile":"eight-rails",
           "pointsman.io/gang":"g","a":"1.0"}},"managedFields":[{odd}]}},
           "spec":{{"y":{odd},"schedulerName":"default-scheduler","containers":[
             {{"x":{odd},"name":"a","resources":{{"x":{odd},"limits":{{"nvidia.com/gpu":"8","cpu":"1.50"}},"requests":{{"nvidia.com/gpu":"8","cpu":1e0}}}},
              "securityContext":{{"x":{odd},"capabilities":{{"y":{odd},"drop":["ALL"],"add":["NET_RAW"]}}}},
              "env":[{{"name":"b","value":"\u0031","x":{odd}}}],"a":{odd}}},
             {{"name":"b","image":"\/i","x":{odd}}}],
           "volumes":[{{"name":"v","x":{odd}}}],"nodeSelector":{{"b":"","a":"1e3"}},"x":{odd}}},"a":{odd}}}"#
    );
    (pod, networks)
}

#[tokio::test]
async fn numbers_escapes_and_the_order_of_keys_stay_as_they_are_spelled() {
    for odd in [
        "1.0",
        "1e3",
        "-0",
        "12345678901234567890123",
        "0.1000000000000000055511151231257827",
        r#""\u0061\/\ud83d\ude00""#,
        r#"{"b":1,"a":2,"B":[1.50,{}],"b":null}"#,
    ] {
        let (text, networks) = pod(odd, "");
        assert!(check(&text, &networks).await, "denied: {text}");
    }
}

#[test]
fn what_is_lost_would_be_seen() {
    let before = Text::of(r#"{"a":1.0,"b":[{"c":"\u0041"}]}"#);
    for after in [
        r#"{"a":1,"b":[{"c":"\u0041"}]}"#,
        r#"{"a":1.0,"b":[{"c":"A"}]}"#,
        r#"{"b":[{"c":"\u0041"}],"a":1.0}"#,
        r#"{"a":1.0,"b":[{"d":1,"c":"\u0041"}]}"#,
        r#"{"a":1.0,"b":[]}"#,
        r#"{"a":1.0}"#,
    ] {
        assert!(!Text::of(after).keeps(&before, &[]), "{after}");
    }
    let more = Text::of(r#"{ "a":1.0, "b":[{"c":"\u0041","d":1},2], "e":3 }"#);
    assert!(more.keeps(&before, &[]));
}

fn odd() -> impl Strategy<Value = String> {
    let plain = select(vec![
        "1.0",
        "1e3",
        "-0.0",
        "1E+2",
        "123456789012345678901234567890",
        "null",
        "true",
        "[]",
        "{}",
        r#""\u00e9\/\n""#,
        r#""\ud83d\ude00""#,
        r#"" ""#,
    ]);
    let key = select(vec!["a", "b", "B", r"\u0061", "name", "resources", "containers"]);
    plain
        .prop_map(str::to_owned)
        .prop_recursive(3, 12, 3, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3)
                    .prop_map(|items| format!("[ {}]", items.join(" ,"))),
                prop::collection::vec((key.clone(), inner), 0..4).prop_map(|pairs| {
                    let pairs: Vec<String> = pairs
                        .iter()
                        .map(|(key, value)| format!("\"{key}\" : {value}"))
                        .collect();
                    format!("{{{}}}", pairs.join(","))
                }),
            ]
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_stands_in_fields_nobody_knows(
        odd in odd(),
        interface in select(vec!["", r#""interface":"ib3","#, r#""interfaceRequest" :"ib3","#]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (text, networks) = pod(&odd, interface);
        prop_assert!(runtime.block_on(check(&text, &networks)), "denied: {}", text);
    }
}

#[tokio::test]
async fn a_list_that_does_not_grow_is_not_written_at_all() {
    let networks = r#" [ {"name" : "rail3","namespace":"fabric", "x":[1.0,1e3]}] "#;
    let pod = json!({
        "metadata": { "annotations": { "pointsman.io/inject": "true", NETWORKS: networks } },
        "spec": { "containers": [{ "name": "a" }] },
    });
    let operations = operations_on(&pod.to_string()).await.unwrap();
    assert!(
        !operations.is_empty() && !operations.iter().any(|(path, _)| path.ends_with("~1networks")),
        "{operations:?}"
    );
}
