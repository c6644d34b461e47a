//! `pointsman scheduler-config`: networks in, a KubeSchedulerConfiguration out.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;

use super::Failure;
use crate::args::{Mode, Notation, SchedulerConfig};
use crate::cluster::index::Index;
use crate::cluster::list::list;
use crate::cluster::objects::Kind;
use crate::config::Configuration;
use crate::decide::settings::{SchedulerMode, Settings};
use crate::scheduler_config::{Input, merge};
use crate::simulate::load;

/// What names the resources of a scheduler.
const KINDS: [Kind; 2] = [Kind::Attachment, Kind::MultusConfig];

/// Makes the configuration and prints it.
pub(super) fn run(flags: SchedulerConfig) -> Result<ExitCode, Failure> {
    let SchedulerConfig {
        mode,
        from,
        merge: existing,
        extender_url,
        no_bind,
        output,
        config,
    } = flags;
    let configuration =
        Configuration::load(config.as_deref()).map_err(|error| Failure::Input(error.into()))?;
    let mut settings = configuration.decisions;
    settings.binds &= !no_bind;
    settings.scheduler = match (mode, settings.scheduler) {
        (Some(Mode::Existing), _) => SchedulerMode::Existing,
        (Some(Mode::Dedicated), SchedulerMode::Existing) => Settings::default().scheduler,
        (_, configured) => configured,
    };
    let index = Arc::new(Index::new(Arc::new(settings.clone())));
    if from.is_empty() {
        super::runtime()?.block_on(async {
            let client = super::cluster().await?;
            list(&client, &KINDS, &index)
                .await
                .context("the cluster's networks cannot be listed")
        })?;
    } else {
        for object in load::load(&from).map_err(|error| Failure::Input(error.into()))? {
            if let Err(problems) = index.apply(object.json) {
                say(&format!("{}: {problems}", object.place));
            }
        }
    }
    let (input, others) =
        Input::of(&settings, &index.published().load(), &extender_url).map_err(anyhow::Error::from)?;
    for name in others {
        say(&format!(
            "left out {name}: a scheduler takes extended resources only, such as spidernet.io/ib_rail0"
        ));
    }
    let printed = match existing {
        None => input.configuration(),
        Some(path) => {
            let place = || format!("scheduler configuration {}", path.display());
            let merged = merge(read(&path)?, &input).with_context(place)?;
            for warning in &merged.warnings {
                say(warning);
            }
            merged.configuration
        }
    };
    let text = match output {
        Notation::Yaml => serde_saphyr::to_string(&printed).map_err(io::Error::other),
        Notation::Json => serde_json::to_string_pretty(&printed)
            .map(|text| text + "\n")
            .map_err(io::Error::other),
    };
    text.and_then(|text| io::stdout().lock().write_all(text.as_bytes()))
        .context("the configuration cannot be printed")?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Value, Failure> {
    let cannot = || format!("scheduler configuration {} cannot be read", path.display());
    std::fs::read_to_string(path)
        .map_err(anyhow::Error::from)
        .and_then(|text| serde_saphyr::from_str(&text).map_err(anyhow::Error::from))
        .with_context(cannot)
        .map_err(Failure::Input)
}

fn say(text: &str) {
    eprintln!("pointsman: {text}");
}
