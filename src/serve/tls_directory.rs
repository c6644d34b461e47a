//! `--tls-dir`: a certificate from `tls.crt` and `tls.key` in a directory, followed as they change.
//!
//! The kubelet swaps a symlink (`..data`), which raises no event on the files; tools copy one file after the
//! other. So both are read every few seconds and compared by their bytes. Only what parses as a pair is shown.

use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::fs;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::tls::{Certificate, ShownCertificate};

/// How often the files are read: two small reads from the page cache, and soon enough for people who look
/// whether it worked.
const PERIOD: Duration = Duration::from_secs(1);

/// Name of the chain's file, leaf first.
const CHAIN: &str = "tls.crt";
/// Name of the key's file.
const KEY: &str = "tls.key";

/// Shows the pair in `directory`, and whatever takes its place, until `end`.
pub async fn follow(directory: PathBuf, shown: Arc<ShownCertificate>, end: CancellationToken) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Sight::Nothing;
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = ticks.tick() => last = look(&directory, last, &shown).await,
        }
    }
}

/// What the files looked like, and what came of it.
#[derive(Debug, PartialEq)]
enum Sight {
    /// They were not looked at yet.
    Nothing,
    /// A pair that is shown.
    Shown(Pair),
    /// Something else, seen once: perhaps between two writes of a rotation that is under way.
    Suspect(Trouble),
    /// The same, seen again: nobody is going to finish it. Reported, once.
    Reported(Trouble),
}

/// The bytes of both files.
#[derive(Debug, PartialEq)]
struct Pair {
    chain: Vec<u8>,
    key: Vec<u8>,
}

/// Why there is no certificate in the files, and the bytes that say so (none where they cannot be read).
#[derive(Debug, PartialEq)]
struct Trouble {
    why: String,
    pair: Option<Pair>,
}

async fn look(directory: &Path, last: Sight, shown: &ShownCertificate) -> Sight {
    let trouble = match read(directory).await {
        Ok(pair) => {
            if matches!(&last, Sight::Shown(known) if *known == pair) {
                return last;
            }
            match Certificate::from_pem(&pair.chain, &pair.key) {
                Ok(certificate) => {
                    shown.show(&certificate, Timestamp::now());
                    return Sight::Shown(pair);
                }
                Err(error) => Trouble {
                    why: error.to_string(),
                    pair: Some(pair),
                },
            }
        }
        Err(error) => Trouble {
            why: error.to_string(),
            pair: None,
        },
    };
    match last {
        Sight::Reported(known) if known == trouble => Sight::Reported(known),
        Sight::Suspect(known) if known == trouble => {
            shown.keep(&format!("{}: {}", directory.display(), known.why));
            Sight::Reported(known)
        }
        Sight::Nothing | Sight::Shown(_) | Sight::Suspect(_) | Sight::Reported(_) => Sight::Suspect(trouble),
    }
}

async fn read(directory: &Path) -> io::Result<Pair> {
    Ok(Pair {
        chain: read_file(directory, CHAIN).await?,
        key: read_file(directory, KEY).await?,
    })
}

async fn read_file(directory: &Path, name: &str) -> io::Result<Vec<u8>> {
    fs::read(directory.join(name))
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{name} cannot be read: {error}")))
}
