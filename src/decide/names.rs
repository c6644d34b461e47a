//! Names of things in the cluster, one type each, so that a node name cannot be passed as a pool name.
//!
//! All are cheap to clone (one reference count) and compare by their text.

use core::borrow::Borrow;
use core::fmt;
use std::sync::Arc;

/// Makes a name type: a text that is only ever compared, cloned and printed.
macro_rules! name {
    ($(#[$doc:meta] $type:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $type {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )+};
}

name! {
    /// A node, by `metadata.name`.
    NodeName,
    /// A namespace.
    NamespaceName,
    /// A pod's `metadata.name`, unique only together with its namespace and only while it lives.
    PodName,
    /// A pod's `metadata.uid`: what promises are kept by, because names are used again.
    PodUid,
    /// A SpiderIPPool.
    PoolName,
    /// A named set of rails, the value of `pointsman.io/profile`.
    ProfileName,
    /// An extended resource with its prefix, as in `spidernet.io/ib_rail0`.
    ResourceName,
    /// The name of a network interface inside the pod, as in `net1`.
    InterfaceName,
    /// A container or init container of a pod.
    ContainerName,
    /// A NetworkAttachmentDefinition's `metadata.name`.
    NetworkName,
    /// A Job.
    JobName,
    /// A PF by the name its host's kernel gives it, as in `ibs1`.
    PfName,
    /// A gang, by the value of `pointsman.io/gang`.
    GangName,
    /// A `spec.schedulerName`.
    SchedulerName,
    /// A DeviceClass (`resource.k8s.io`).
    DeviceClassName,
    /// A ResourceClaim or a ResourceClaimTemplate.
    DeviceClaimName,
}

/// A NetworkAttachmentDefinition by namespace and name; prints as Multus writes it, `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkRef {
    /// Where it lives.
    pub namespace: NamespaceName,
    /// Its name.
    pub name: NetworkName,
}

impl NetworkRef {
    /// The network `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<NamespaceName>, name: impl Into<NetworkName>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for NetworkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A gang: pods of one namespace that start together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GangRef {
    /// The namespace of its pods.
    pub namespace: NamespaceName,
    /// Its name.
    pub name: GangName,
}

impl fmt::Display for GangRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod: its place for people, its UID for promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: NamespaceName,
    /// Its name.
    pub name: PodName,
    /// Its UID.
    pub uid: PodUid,
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl ResourceName {
    /// The part behind the prefix: `ib_rail0` of `spidernet.io/ib_rail0`. It is what a SriovNetworkNodePolicy
    /// and the VF groups of a SriovNetworkNodeState call the resource; the device plugin adds the prefix.
    #[must_use]
    pub fn suffix(&self) -> &str {
        self.as_str()
            .rsplit_once('/')
            .map_or(self.as_str(), |(_, suffix)| suffix)
    }

    /// Whether this is an extended resource (has a prefix that is not Kubernetes' own).
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.as_str()
            .split_once('/')
            .is_some_and(|(prefix, _)| prefix != "kubernetes.io" && !prefix.ends_with(".kubernetes.io"))
    }
}

/// Orders texts as people number things: runs of digits compare as numbers, so `rail2` precedes `rail10`.
/// Equal as numbers but different as text (`rail01`, `rail1`) falls back to the text, so the order is total.
#[must_use]
pub fn natural_order(left: &str, right: &str) -> core::cmp::Ordering {
    let (mut l, mut r) = (left, right);
    loop {
        let (Some(a), Some(b)) = (l.chars().next(), r.chars().next()) else {
            return l.len().cmp(&r.len()).then_with(|| left.cmp(right));
        };
        if a.is_ascii_digit() && b.is_ascii_digit() {
            let (a, rest_l) = split_number(l);
            let (b, rest_r) = split_number(r);
            match a.len().cmp(&b.len()).then_with(|| a.cmp(b)) {
                core::cmp::Ordering::Equal => (l, r) = (rest_l, rest_r),
                unequal => return unequal,
            }
        } else if a == b {
            (l, r) = (l.strip_prefix(a).unwrap_or(""), r.strip_prefix(b).unwrap_or(""));
        } else {
            return a.cmp(&b);
        }
    }
}

/// The leading digits of `text` without their leading zeros, and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.trim_start_matches('0'), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_inside_names_order_as_numbers() {
        let mut names = vec!["rail10", "rail2", "rail1", "rail", "gpu3-rail0", "rail01"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            ["gpu3-rail0", "rail", "rail01", "rail1", "rail2", "rail10"]
        );
    }

    #[test]
    fn a_resource_knows_its_suffix_and_whether_it_is_extended() {
        let vf = ResourceName::from("spidernet.io/ib_rail0");
        assert_eq!(vf.suffix(), "ib_rail0");
        assert!(vf.is_extended());
        assert!(!ResourceName::from("cpu").is_extended());
        assert!(!ResourceName::from("requests.kubernetes.io/x").is_extended());
    }
}
