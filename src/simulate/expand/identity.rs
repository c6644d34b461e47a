//! Names and UIDs that are the same each time: where Kubernetes draws lots, a hash of what the thing is.

use serde_json::{Value, json};

use super::text;

/// The letters and digits that Kubernetes makes suffixes of: none that spell words or look alike.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// What owns a pod, as its owner reference needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    api_version: &'a str,
    kind: &'a str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) created: &'a str,
    pub(super) uid: &'a str,
}

impl<'a> Owner<'a> {
    /// The owner that this object is.
    pub(super) fn of(object: &'a Value) -> Self {
        Self {
            api_version: text(object, "/apiVersion"),
            kind: text(object, "/kind"),
            name: text(object, "/metadata/name"),
            namespace: text(object, "/metadata/namespace"),
            created: text(object, "/metadata/creationTimestamp"),
            uid: text(object, "/metadata/uid"),
        }
    }

    /// The reference to it that a controller writes.
    pub(super) fn reference(&self) -> Value {
        json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }

    /// The five characters behind the name of its pod of this number; no two numbers get the same.
    pub(super) fn suffix(&self, number: u64) -> String {
        // Numbers are spread by a factor that shares no divisor with 27^5, so each gives another remainder.
        const COMBINATIONS: u64 = 27_u64.pow(5);
        const SPREAD: u64 = 9_127_861;
        let start = hash(&[self.kind, self.namespace, self.name]) % u128::from(COMBINATIONS);
        let start = u64::try_from(start).unwrap_or_default();
        let mut left = (start + (number % COMBINATIONS) * SPREAD) % COMBINATIONS;
        let mut suffix = String::new();
        for _ in 0..5 {
            suffix.push(safe(left));
            left /= 27;
        }
        suffix
    }
}

/// A UID in the form of Kubernetes' own.
pub(super) fn uid(kind: &str, namespace: &str, name: &str) -> String {
    let hash = hash(&[kind, namespace, name]);
    // Version 8 of RFC 9562: made up by whoever makes it.
    let hash = hash & !(0xf000 << 64) | (0x8000 << 64);
    let hash = hash & !(0xc000 << 48) | (0x8000 << 48);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        hash >> 96,
        hash >> 80 & 0xffff,
        hash >> 64 & 0xffff,
        hash >> 48 & 0xffff,
        hash & 0xffff_ffff_ffff
    )
}

/// The hash of a template, as it stands in the names of ReplicaSets and revisions.
pub(super) fn revision(template: &Value) -> String {
    let hash = hash(&[&template.to_string()]) & u128::from(u32::MAX);
    hash.to_string()
        .bytes()
        .map(|digit| safe(u64::from(digit)))
        .collect()
}

fn safe(number: u64) -> char {
    usize::try_from(number % 27)
        .ok()
        .and_then(|index| SAFE.get(index))
        .map_or('b', |letter| char::from(*letter))
}

/// FNV-1a of 128 bits over the parts, with a byte between them that no name holds.
fn hash(parts: &[&str]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    parts
        .iter()
        .flat_map(|part| part.bytes().chain([0]))
        .fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}
