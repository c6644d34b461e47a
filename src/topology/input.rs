//! Files of dumps and of nodes, and what they come to.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::decide::problem::{Problem, Problems};
use crate::simulate::load;

use super::dump::Dump;
use super::format;
use super::matching::HostMap;
use super::model::Fabric;
use super::node::Nodes;
use super::objects::{Cluster, host_map, plain_names};

/// The most a dump may have: 50 times the largest fabric that was tried.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Dumps that were read.
#[derive(Clone, Debug)]
pub struct Dumps {
    /// What they describe together.
    pub fabric: Fabric,
    /// When the oldest of them was made.
    pub made_at: Timestamp,
}

/// Reads dumps from files, `-` for standard input, and lays them together.
///
/// # Errors
/// What is wrong with any of them.
pub fn dumps(files: &[PathBuf], now: Timestamp) -> Result<Dumps, Problems> {
    let (dumps, made_at) = read(files, now)?;
    Ok(Dumps {
        fabric: Fabric::of(dumps)?,
        made_at,
    })
}

/// Reads dumps, each with the name of its file, and when the oldest of them was made.
///
/// # Errors
/// Why any of them cannot be read; that it is not whole is told in the dump itself.
pub fn read(files: &[PathBuf], now: Timestamp) -> Result<(Vec<(String, Dump)>, Timestamp), Problems> {
    let mut problems = Problems::none();
    let mut dumps = Vec::new();
    let mut made_at = now;
    for file in files {
        let name = file.display().to_string();
        let (bytes, written) = match bytes(file) {
            Ok(read) => read,
            Err(error) => {
                problems.push(unreadable(&name, &error, "a dump of the fabric"));
                continue;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        match format::parse(&text) {
            Ok(dump) => {
                let made = dump.made_at.and_then(|date| timestamp(date, now)).or(written);
                made_at = made.map_or(made_at, |made| made.min(made_at));
                dumps.push((name, dump));
            }
            Err(wrong) => {
                for problem in &wrong {
                    problems.push(Problem {
                        at: format!("{name}, {}", problem.at),
                        ..problem.clone()
                    });
                }
            }
        }
    }
    problems.or((dumps, made_at))
}

/// Reads nodes from files.
///
/// # Errors
/// What is wrong with any of them.
pub fn nodes(paths: &[PathBuf]) -> Result<Cluster, Problems> {
    let mut problems = Problems::none();
    let mut cluster = Cluster::default();
    for path in paths {
        let name = path.display().to_string();
        if let Some(named) = names(path) {
            cluster.nodes.extend(named);
            continue;
        }
        let objects = match load::load(core::slice::from_ref(path)) {
            Ok(objects) => objects,
            Err(error) => {
                problems.push(Problem::new(
                    name,
                    crate::decide::problem::chain(&error),
                    "nodes as `kubectl get -o yaml` prints them, or node names, one a line",
                    "correct the file",
                ));
                continue;
            }
        };
        for object in objects {
            match serde_json::from_value(object.json) {
                Ok(read) => cluster.object(&read),
                Err(error) => problems.push(Problem::new(
                    object.place.to_string(),
                    error.to_string(),
                    "a Kubernetes object",
                    "correct the file",
                )),
            }
        }
    }
    problems.or(cluster.finish())
}

/// Reads a map file.
///
/// # Errors
/// Why it cannot be used.
pub fn map(file: Option<&Path>) -> Result<HostMap, Problems> {
    let Some(file) = file else {
        return Ok(HostMap::new());
    };
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| unreadable(&name, &error, "lines host=node"))?;
    host_map(&name, &text)
}

/// A file of nothing but names.
fn names(path: &Path) -> Option<Nodes> {
    plain_names(&fs::read_to_string(path).ok()?)
}

/// The bytes of a file and when it was last written; of standard input, and no time.
fn bytes(file: &Path) -> io::Result<(Arc<[u8]>, Option<Timestamp>)> {
    let mut bytes = Vec::new();
    let mut written = None;
    if file == Path::new("-") {
        io::stdin().lock().take(LARGEST).read_to_end(&mut bytes)?;
    } else {
        let open = fs::File::open(file)?;
        let modified = open.metadata()?.modified().unwrap_or_else(|_| SystemTime::now());
        written = Timestamp::try_from(modified).ok();
        open.take(LARGEST).read_to_end(&mut bytes)?;
    }
    Ok((bytes.into(), written))
}

/// A dump's own date, which is by the clock of whoever made it and names no time zone: ours is taken for it. No dump
/// was made in the future.
fn timestamp(date: DateTime, now: Timestamp) -> Option<Timestamp> {
    let made = TimeZone::system().to_timestamp(date).ok()?;
    Some(made.min(now))
}

fn unreadable(name: &str, error: &io::Error, expected: &str) -> Problem {
    Problem::new(
        name,
        format!("that it cannot be read ({error})"),
        expected,
        "give another file",
    )
}
