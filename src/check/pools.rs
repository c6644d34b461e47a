//! Rows about Spiderpool's pools: whether networks find addresses in them, and whether their books are right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draws::{Room, draws};
use super::facts::{Facts, Listing};
use super::finding::{Answer, Finding, apply};
use super::fleet::{asked, fleet, networks};
use super::source::Source;
use super::tally::{Tally, Words, count, few};
use crate::decide::names::{NetworkRef, PoolName};
use crate::decide::network::Ipam;
use crate::decide::node::Node;
use crate::decide::pod::PoolChoice;
use crate::decide::pool::Pool;
use crate::decide::wildcard;

/// Every pool and every reservation can be read.
pub(super) fn readable(facts: &Facts) -> Finding {
    const SUBJECT: &str = "SpiderIPPools and SpiderReservedIPs";
    if let Some(unknown) = facts.unless_known(&[Source::Pool], SUBJECT) {
        return unknown;
    }
    let problems = facts.problems_of(&[Source::Pool, Source::ReservedIp]);
    let pools = own_pools(facts).count();
    if !problems.is_empty() {
        return Finding::no(
            SUBJECT,
            few(&problems),
            "# correct what is named; until then the pool gives no address\n\
             kubectl get spiderippools.spiderpool.spidernet.io -o yaml\n\
             kubectl get spiderreservedips.spiderpool.spidernet.io -o yaml",
        );
    }
    if pools == 0 {
        return Finding::unknown(SUBJECT, "there is no pool", example());
    }
    Finding::yes(SUBJECT, format!("{} read", count(pools, "pool")))
}

/// Networks name pools that exist.
pub(super) fn named(facts: &Facts) -> Finding {
    const SUBJECT: &str = "pools that networks name";
    if let Some(unknown) = facts.unless_known(&[Source::Pool], SUBJECT) {
        return unknown;
    }
    let mut tally = Tally::default();
    let mut first = None;
    for (at, draws) in draws(facts) {
        let mut problems = Vec::new();
        for draw in &draws {
            problems.extend(draw.unmatched.iter().map(|name| {
                if wildcard::is_wildcard(name) {
                    format!("no {} pool matches {name}", draw.family)
                } else {
                    format!("there is no pool {name}")
                }
            }));
            first = first.or_else(|| draw.unmatched.first().cloned());
        }
        if draws
            .iter()
            .all(|draw| draw.pools.is_empty() && draw.unmatched.is_empty())
        {
            problems.push("it names no pool, and none is marked as default".to_owned());
        }
        tally.judge(&at.to_string(), &problems);
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "network with Spiderpool addresses",
            sound: "every pool it names is there",
            nothing: "no network gets its addresses from Spiderpool",
        },
        |_| first.as_deref().map_or_else(example, missing_pool),
    )
}

/// Every network finds a free address, on every node where its pools are tied to nodes.
pub(super) fn free(facts: &Facts) -> Finding {
    const SUBJECT: &str = "free addresses";
    if let Some(unknown) = facts.unless_known(&[Source::Pool, Source::Node], SUBJECT) {
        return unknown;
    }
    let asked = asked(facts);
    let nodes: Vec<&Node> = fleet(facts, &asked)
        .into_iter()
        .map(|(node, _)| node.as_ref())
        .collect();
    let mut tally = Tally::telling(facts.node.is_some());
    let mut first: Option<PoolName> = None;
    let mut fewest: Option<(u64, String)> = None;
    for (at, draws) in draws(facts) {
        let mut problems = Vec::new();
        for draw in draws.iter().filter(|draw| !draw.pools.is_empty()) {
            let room = Room::of(facts, &draw.pools);
            let without: Vec<&&Node> = nodes.iter().filter(|node| !room.has(node)).collect();
            if room.free == 0 {
                problems.push(format!("{}: {}", draw.family, room.told(facts, &draw.pools)));
                first = first.or_else(|| draw.pools.first().cloned());
            } else if let Some(example) = without.first() {
                problems.push(format!(
                    "{}: no address on {}, {} among them",
                    draw.family,
                    count(without.len(), "node"),
                    example.name
                ));
                first = first.or_else(|| draw.pools.first().cloned());
            }
            if fewest.as_ref().is_none_or(|(least, _)| room.free < *least) {
                fewest = Some((room.free, format!("{at} ({})", room.told(facts, &draw.pools))));
            }
        }
        tally.judge(&at.to_string(), &problems);
    }
    let finding = tally.finding(
        Words {
            subject: SUBJECT,
            thing: "network with Spiderpool addresses",
            sound: "has free addresses",
            nothing: "no network gets its addresses from Spiderpool",
        },
        |_| first.as_ref().map_or_else(example, |pool| fuller(facts, pool)),
    );
    match (finding.answer, fewest) {
        (Answer::Yes, Some((_, network))) => {
            let waiting = facts.snapshot.unallocated.size();
            let waiting = if waiting == 0 {
                String::new()
            } else {
                format!("; {} not fetched theirs yet", count_have(waiting))
            };
            Finding {
                evidence: format!("{}; fewest for {network}{waiting}", finding.evidence),
                ..finding
            }
        }
        _ => finding,
    }
}

/// Pools count what they record.
pub(super) fn counters(facts: &Facts) -> Finding {
    const SUBJECT: &str = "counters of pools against their records";
    if let Some(unknown) = facts.unless_known(&[Source::Pool], SUBJECT) {
        return unknown;
    }
    let mut tally = Tally::default();
    for (name, counters) in &facts.counters {
        let mut problems = Vec::new();
        if let Some(told) = counters.told_allocated.filter(|told| *told != counters.records) {
            problems.push(format!(
                "allocatedIPCount {told}, {} in allocatedIPs",
                count(usize::try_from(counters.records).unwrap_or(usize::MAX), "record")
            ));
        }
        if let Some(told) = counters.told_total.filter(|told| *told != counters.listed) {
            problems.push(format!(
                "totalIPCount {told}, {} in ips without excludeIPs",
                counters.listed
            ));
        }
        if problems.is_empty() && counters.told_total.is_none() {
            tally.unsure(name.as_str(), "no status yet");
            continue;
        }
        tally.judge(name.as_str(), &problems);
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "pool",
            sound: "counters equal records",
            nothing: "there is no pool",
        },
        |first| {
            let pool = first.unwrap_or("POOL");
            let namespace = &facts.configuration.decisions.spiderpool_namespace;
            format!(
                "# we count records, so placement is not affected; Spiderpool's controller counts anew when it starts\n\
                 kubectl get spiderippool {pool} -o jsonpath='{{.status.totalIPCount}} {{.status.allocatedIPCount}} {{.status.allocatedIPs}}'\n\
                 kubectl -n {namespace} rollout restart deployment/spiderpool-controller"
            )
        },
    )
}

/// Every recorded address belongs to a pod that exists.
pub(super) fn records(facts: &Facts) -> Finding {
    const SUBJECT: &str = "addresses recorded for pods";
    if let Some(unknown) = facts.unless_known(&[Source::Pool, Source::Pod], SUBJECT) {
        return unknown;
    }
    let mut tally = Tally::default();
    for (name, pool) in own_pools(facts) {
        let Ok(reading) = &pool.reading else { continue };
        let gone: u32 = reading
            .holders
            .iter()
            .filter(|(uid, _)| !facts.pods.contains(*uid))
            .map(|(_, held)| *held)
            .sum();
        if gone == 0 {
            tally.sound();
        } else {
            tally.wrong(name.as_str(), format!("{gone} held by pods that are gone"));
        }
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "pool",
            sound: "every record's pod exists",
            nothing: "there is no pool",
        },
        |first| {
            let pool = first.unwrap_or("POOL");
            let namespace = &facts.configuration.decisions.spiderpool_namespace;
            format!(
                "# Spiderpool's collector gives them back within ten minutes; records that stay longer have leaked\n\
                 kubectl get spiderippool {pool} -o jsonpath='{{.status.allocatedIPs}}'\n\
                 kubectl -n {namespace} logs deployment/spiderpool-controller --tail=200 | grep -i gc\n\
                 # an endpoint that is stuck is removed by hand\n\
                 kubectl -n NAMESPACE delete spiderendpoint POD"
            )
        },
    )
}

/// Subnets can give addresses to the pools that are cut from them.
pub(super) fn subnets(facts: &Facts) -> Finding {
    const SUBJECT: &str = "SpiderSubnets";
    const NONE: &str = "there is no SpiderSubnet: pools are made by hand";
    if *facts.listing(Source::Subnet) == Listing::Absent {
        return Finding::yes(SUBJECT, NONE);
    }
    if let Some(unknown) = facts.unless_known(&[Source::Subnet], SUBJECT) {
        return unknown;
    }
    let off = said_by_spiderpool(facts, "enableSpiderSubnet") == Some(false);
    let mut tally = Tally::default();
    for (name, subnet) in facts
        .snapshot
        .pools
        .iter()
        .filter(|(name, _)| name.is_of_subnet())
    {
        let mut problems = Vec::new();
        match &subnet.reading {
            Err(problem) => problems.push(problem.to_string()),
            Ok(reading) if reading.terminating => problems.push("is being deleted".to_owned()),
            Ok(reading) if reading.free == 0 => {
                problems.push(format!("0 of {} left, in it and in its pools", reading.size));
            }
            Ok(_) => {}
        }
        if off {
            problems.push("Spiderpool has enableSpiderSubnet: false and cuts no pool from it".to_owned());
        }
        tally.judge(name.as_str().trim_start_matches("subnet/"), &problems);
    }
    if tally.is_empty() {
        return Finding::yes(SUBJECT, NONE);
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "SpiderSubnet",
            sound: "addresses left",
            nothing: NONE,
        },
        |first| {
            let subnet = first.unwrap_or("SUBNET");
            let switch = off.then_some(
                "\n# let Spiderpool cut pools from subnets\n\
                 helm upgrade spiderpool spiderpool/spiderpool --namespace spiderpool --reuse-values \
                 --set ipam.spiderSubnet.enable=true",
            );
            format!(
                "# which pools are cut from it\n\
                 kubectl get spidersubnet {subnet} -o yaml\n\
                 kubectl get spiderippools -l ipam.spidernet.io/owner-spider-subnet={subnet}\n\
                 # more of them (a range of the subnet that nobody else uses)\n\
                 kubectl patch spidersubnet {subnet} --type json -p \
                 '[{{\"op\":\"add\",\"path\":\"/spec/ips/-\",\"value\":\"FIRST-LAST\"}}]'{}",
                switch.unwrap_or_default()
            )
        },
    )
}

/// No two rails of a profile draw from one pool.
pub(super) fn rails(facts: &Facts) -> Finding {
    const SUBJECT: &str = "pools of a profile's rails";
    if let Some(unknown) = facts.unless_known(&[Source::Pool], SUBJECT) {
        return unknown;
    }
    let draws: BTreeMap<&NetworkRef, BTreeSet<PoolName>> = draws(facts)
        .into_iter()
        .map(|(at, draws)| (at, draws.into_iter().flat_map(|draw| draw.pools).collect()))
        .collect();
    let mut tally = Tally::default();
    let mut first = None;
    for profile in facts.snapshot.profiles() {
        let mut by_pool: BTreeMap<&PoolName, &NetworkRef> = BTreeMap::new();
        let mut problems = BTreeSet::new();
        let members = facts.snapshot.profile(&profile);
        for network in &members {
            let Some((at, pools)) = draws.get_key_value(&network.at) else {
                continue;
            };
            for pool in pools {
                if let Some(other) = by_pool.insert(pool, at) {
                    problems.insert(format!("{other} and {at} both draw from {pool}"));
                    first.get_or_insert_with(|| (*at).clone());
                }
            }
        }
        tally.judge(profile.as_str(), &problems.into_iter().collect::<Vec<_>>());
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "profile",
            sound: "a pool of its own for each rail",
            nothing: "no network belongs to a profile",
        },
        |_| {
            let (namespace, name) = first.as_ref().map_or_else(
                || ("NAMESPACE".to_owned(), "NAME".to_owned()),
                |at| (at.namespace.to_string(), at.name.to_string()),
            );
            format!(
                "# Spiderpool gives a pod that holds an address of a pool the same one again: two rails, one address\n\
                 {}\n\
                 kubectl -n {namespace} patch spidermultusconfig {name} --type merge -p \
                 '{{\"spec\":{{\"ibsriov\":{{\"ippools\":{{\"ipv4\":[\"{name}\"]}}}}}}}}'",
                missing_pool(&name)
            )
        },
    )
}

/// No namespace's default pools take precedence over those that networks name.
pub(super) fn namespaces(facts: &Facts) -> Finding {
    const SUBJECT: &str = "default pools of namespaces";
    if let Some(unknown) = facts.unless_known(&[Source::Namespace], SUBJECT) {
        return unknown;
    }
    let own = networks(facts)
        .filter(|(_, attachment)| {
            matches!(&attachment.ipam, Ipam::Spiderpool { v4, v6, .. } if !v4.is_empty() || !v6.is_empty())
        })
        .count();
    let mut tally = Tally::default();
    for (name, namespace) in &facts.snapshot.namespaces {
        let problem = match &namespace.default_pools {
            Err(problems) => Some(problems.to_string()),
            Ok(choice) if *choice != PoolChoice::default() && own > 0 => {
                let pools: Vec<String> = choice.v4.iter().chain(&choice.v6).cloned().collect();
                Some(format!(
                    "{} for every rail of its pods, whatever {} name",
                    few(&pools),
                    count(own, "network")
                ))
            }
            Ok(_) => None,
        };
        tally.judge(name.as_str(), &problem.into_iter().collect::<Vec<_>>());
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "namespace",
            sound: "none outranks the pools that networks name",
            nothing: "there is no namespace",
        },
        |first| {
            let namespace = first.unwrap_or("NAMESPACE");
            format!(
                "# Spiderpool takes the namespace's pools before the network's\n\
                 kubectl annotate namespace {namespace} ipam.spidernet.io/default-ipv4-ippool- ipam.spidernet.io/default-ipv6-ippool-"
            )
        },
    )
}

/// Spiderpool hands out the families that we reckon with.
pub(super) fn families(facts: &Facts) -> Finding {
    const SUBJECT: &str = "IP families that Spiderpool hands out";
    const NAME: &str = SPIDERPOOL_CONF;
    let namespace = &facts.configuration.decisions.spiderpool_namespace;
    let show = format!("kubectl -n {namespace} get configmap {NAME} -o yaml | grep -i enableIPv");
    if let Some(unknown) = facts.unless_known(&[Source::ConfigMap], SUBJECT) {
        return unknown;
    }
    let Some(config) = facts.config_maps.iter().find(|config| config.name() == NAME) else {
        return Finding::unknown(SUBJECT, format!("there is no ConfigMap {namespace}/{NAME}"), show);
    };
    let said = |key: &str| said_by_spiderpool(facts, key);
    let (Some(v4), Some(v6)) = (said("enableIPv4"), said("enableIPv6")) else {
        return Finding::unknown(
            SUBJECT,
            format!("ConfigMap {} does not say enableIPv4 and enableIPv6", config.at()),
            show,
        );
    };
    let settings = &facts.configuration.decisions;
    let evidence = format!(
        "Spiderpool: IPv4 {v4}, IPv6 {v6}; ours: IPv4 {}, IPv6 {}",
        settings.ipv4, settings.ipv6
    );
    if (v4, v6) == (settings.ipv4, settings.ipv6) {
        Finding::yes(SUBJECT, evidence)
    } else {
        Finding::no(
            SUBJECT,
            evidence,
            format!(
                "# in our configuration, under data.config.yaml:  ipFamilies: {{ ipv4: {v4}, ipv6: {v6} }}\n\
                 kubectl -n {} edit configmap pointsman",
                facts.namespace
            ),
        )
    }
}

/// Where Spiderpool keeps its switches.
const SPIDERPOOL_CONF: &str = "spiderpool-conf";

/// A switch in Spiderpool's configuration, where it can be read.
fn said_by_spiderpool(facts: &Facts, key: &str) -> Option<bool> {
    let config = facts
        .config_maps
        .iter()
        .find(|config| config.name() == SPIDERPOOL_CONF)?;
    let mut lines = config.body.data.values().flat_map(|text| text.lines());
    let value = lines.find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}

/// The pools that are objects of their own, rather than stand for a subnet.
fn own_pools(facts: &Facts) -> impl Iterator<Item = (&PoolName, &Arc<Pool>)> {
    facts
        .snapshot
        .pools
        .iter()
        .filter(|(name, _)| !name.is_of_subnet())
}

fn count_have(pods: usize) -> String {
    if pods == 1 {
        "1 bound pod has".to_owned()
    } else {
        format!("{pods} bound pods have")
    }
}

/// How to give a pool more addresses.
fn fuller(facts: &Facts, pool: &PoolName) -> String {
    let disabled = facts
        .snapshot
        .pools
        .get(pool)
        .and_then(|pool| pool.reading.as_ref().ok())
        .is_some_and(|reading| reading.disabled);
    if disabled {
        return format!(
            "kubectl patch spiderippool {pool} --type merge -p '{{\"spec\":{{\"disable\":false}}}}'"
        );
    }
    format!(
        "# who holds them\n\
         kubectl get spiderippool {pool} -o jsonpath='{{.status.allocatedIPs}}'\n\
         # more of them (a range of the pool's subnet that nobody else uses)\n\
         kubectl patch spiderippool {pool} --type json -p \
         '[{{\"op\":\"add\",\"path\":\"/spec/ips/-\",\"value\":\"FIRST-LAST\"}}]'"
    )
}

fn missing_pool(name: &str) -> String {
    let object = format!(
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\nmetadata: {{ name: \"{name}\" }}\n\
         spec: {{ subnet: 10.10.0.0/16, ips: [10.10.0.10-10.10.7.250] }}"
    );
    apply("with a subnet of your own for each rail", &object)
}

fn example() -> String {
    missing_pool("rail0")
}
