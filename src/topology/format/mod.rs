//! The dumps that are understood, told apart by their content.

pub mod iblinkinfo;
pub mod ibnetdiscover;
pub mod port_list;
mod scan;
pub mod slurm;
pub mod subnet_list;
pub mod ufm;

use super::dump::{Dump, Format};
use crate::decide::problem::{Problem, Problems, quoted};

/// Reads a dump of any known format.
///
/// # Errors
/// When the format is not known, or the text does not follow it.
pub fn parse(text: &str) -> Result<Dump, Problems> {
    match recognize(text) {
        Some(Format::Ibnetdiscover) => ibnetdiscover::parse(text),
        Some(Format::PortList) => port_list::parse(text),
        Some(Format::Iblinkinfo) => iblinkinfo::parse(text),
        Some(Format::SubnetList) => subnet_list::parse(text),
        Some(Format::Slurm) => slurm::parse(text),
        Some(Format::UfmPorts) => ufm::parse(text),
        None => Err(Problem::new(
            "the file",
            text.lines()
                .find(|line| !line.trim().is_empty())
                .map_or_else(|| "nothing".to_owned(), quoted),
            "the output of ibnetdiscover (also -p, -g, -f), of iblinkinfo -l, OpenSM's opensm-subnet.lst, SLURM's \
             topology.conf, or UFM's /ufmRest/resources/ports",
            "give a dump of one of these formats",
        )
        .into()),
    }
}

/// The format, by the first line that has something to say.
#[must_use]
pub fn recognize(text: &str) -> Option<Format> {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let begins = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
        if begins(&["# Topology file:", "vendid=", "Switch\t"]) {
            return Some(Format::Ibnetdiscover);
        }
        if begins(&["#", "DR path "]) {
            continue;
        }
        if begins(&["{ SW", "{ CA", "{ RT", "{ Rt", "{ Router"]) {
            return Some(Format::SubnetList);
        }
        if begins(&["SW ", "CA ", "RT "]) && line.contains("0x") {
            return Some(Format::PortList);
        }
        if line.starts_with("0x") && line.contains("==(") {
            return Some(Format::Iblinkinfo);
        }
        // A port of ibnetdiscover begins with a bracket as well, and a number.
        if let Some(rest) = line.strip_prefix('[')
            && (rest.trim().is_empty() || rest.trim_start().starts_with(['{', ']']))
        {
            return Some(Format::UfmPorts);
        }
        let lower = line.to_ascii_lowercase();
        let is_slurm = ["switchname=", "blockname=", "blocksizes="]
            .iter()
            .any(|key| lower.starts_with(key));
        return is_slurm.then_some(Format::Slurm);
    }
    None
}
