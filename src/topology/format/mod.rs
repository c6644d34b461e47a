//! The dumps that are understood, told apart by their content.

pub mod ibnetdiscover;
mod scan;

use super::dump::{Dump, Format};
use crate::decide::problem::{Problem, Problems, quoted};

/// Reads a dump of any known format.
///
/// # Errors
/// When the format is not known, or the text does not follow it.
pub fn parse(text: &str) -> Result<Dump, Problems> {
    match recognize(text) {
        Some(Format::Ibnetdiscover) => ibnetdiscover::parse(text),
        _ => Err(Problem::new(
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
        if line.starts_with("# Topology file:") || line.starts_with("vendid=") || line.starts_with("Switch\t")
        {
            return Some(Format::Ibnetdiscover);
        }
        if !line.starts_with('#') && !line.starts_with("DR path ") {
            return None;
        }
    }
    None
}
