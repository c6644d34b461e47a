//! The pods: gangs of 4, 8 and 16 and some pods alone, which come in any order while things break; some go again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::Refused;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::scene::{Scene, is_bound};
use crate::harness::seeded::Seeded;
use crate::scale::Scale;
use crate::timeline::Timeline;

pub(crate) struct Arrivals {
    pub(crate) gangs: Vec<Gang>,
}

/// A gang; one of a single pod is no gang.
pub(crate) struct Gang {
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) required: bool,
    /// It ends as soon as all of it runs, and makes room.
    ends: bool,
    template: Value,
}

impl Gang {
    pub(crate) fn pods(&self) -> impl Iterator<Item = String> {
        (0..self.size).map(|number| format!("{}-{number:02}", self.name))
    }
}

impl Arrivals {
    pub(crate) fn make(random: &mut Seeded, scale: &Scale, profile: &Profile) -> Self {
        let mut gangs = Vec::new();
        for (size, count) in scale.gangs {
            for number in 0..count {
                let name = format!("g{size:02}-{number:02}");
                let required = size > 1 && random.percent(65);
                let mut template = pod_of(&name, profile.name());
                if size > 1 {
                    let locality = if required {
                        "required=leaf-group"
                    } else {
                        "preferred=leaf-group"
                    };
                    for (key, value) in [
                        ("pointsman.io/gang", name.clone()),
                        ("pointsman.io/gang-size", size.to_string()),
                        ("pointsman.io/locality", locality.to_owned()),
                    ] {
                        template["metadata"]["annotations"][key] = json!(value);
                    }
                }
                gangs.push(Gang {
                    name,
                    size,
                    required,
                    ends: random.percent(25),
                    template,
                });
            }
        }
        for last in (1..gangs.len()).rev() {
            gangs.swap(last, random.below(last + 1));
        }
        Self { gangs }
    }

    /// Creates all of them, several gangs at a time, and deletes those that end.
    pub(crate) async fn come(&self, scene: &Scene<'_>, timeline: &Timeline, random: &mut Seeded) {
        let pauses: Vec<u64> = (0..self.gangs.len())
            .scan(0, |at, _| {
                *at += u64::try_from(random.below(600)).unwrap();
                Some(*at)
            })
            .collect();
        let each = self.gangs.iter().zip(pauses).map(async |(gang, pause)| {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            for name in gang.pods() {
                let mut pod = gang.template.clone();
                pod["metadata"]["name"] = json!(name);
                persist(async || {
                    match scene.api().create(&scene.pods_at(), pod.clone()).await {
                        // The answer to the first try may have been lost.
                        Err(refused) if refused.message.contains("already exists") => Ok(()),
                        answer => answer.map(|_| ()),
                    }
                })
                .await;
            }
            timeline.says(format!("{} is there", gang.name));
        });
        let ends = self
            .gangs
            .iter()
            .filter(|gang| gang.ends)
            .map(|gang| end(gang, scene, timeline));
        let all_come = futures::future::join_all(each);
        // Those that never start while the storm lasts do not end either.
        tokio::select! {
            () = async { drop(tokio::join!(all_come, tokio::time::sleep(Duration::from_secs(20)))) } => {}
            () = async { futures::future::join_all(ends).await; std::future::pending().await } => {}
        }
    }

    /// Deletes every pod that is left, and waits until all are gone.
    pub(crate) async fn leave_all(&self, scene: &Scene<'_>) {
        scene.close().await;
    }
}

/// Waits until all of the gang is bound, and deletes it.
async fn end(gang: &Gang, scene: &Scene<'_>, timeline: &Timeline) {
    loop {
        let pods = scene.api().try_list(&scene.pods_at()).await.unwrap_or_default();
        let bound = pods
            .iter()
            .filter(|pod| is_bound(pod) && gang.pods().any(|name| pod["metadata"]["name"] == name))
            .count();
        if bound == gang.size {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for name in gang.pods() {
        let at = scene.pods_at().named(&name);
        persist(async || match scene.api().delete(&at).await {
            Err(refused) if refused.message.contains("not found") => Ok(()),
            answer => answer.map(|_| ()),
        })
        .await;
    }
    timeline.says(format!("{} has ended", gang.name));
}

/// Tries until it is done, as controllers do.
pub(crate) async fn persist(mut act: impl AsyncFnMut() -> Result<(), Refused>) {
    while act().await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
