//! Who may stay when more connect than there are places: a connection that is quiet gives its place to a new one, so that
//! silent ones, however many, keep nobody out. The longest quiet go first, those that never sent a request before all
//! others; one with a request under way stays.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::ConnectionLimits;

/// The places of a listener.
pub(super) struct Places {
    most: usize,
    seats: Mutex<Seats>,
    freed: Notify,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: BTreeMap<u64, Seat>,
}

struct Seat {
    traffic: Arc<Traffic>,
    leave: CancellationToken,
}

/// A place, which is free again when this value is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    traffic: Arc<Traffic>,
    leave: CancellationToken,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            seats: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// Takes a place; waits for one where every connection has a request under way.
    pub(super) async fn take(places: &Arc<Self>) -> Place {
        loop {
            let freed = places.freed.notified();
            if let Some(place) = Self::try_take(places) {
                return place;
            }
            freed.await;
        }
    }

    fn try_take(places: &Arc<Self>) -> Option<Place> {
        let mut seats = places.lock();
        if seats.taken.len() >= places.most && !seats.quietest_leaves() {
            return None;
        }
        let number = seats.next;
        seats.next += 1;
        let traffic = Arc::new(Traffic::new());
        let leave = CancellationToken::new();
        let seat = Seat {
            traffic: Arc::clone(&traffic),
            leave: leave.clone(),
        };
        seats.taken.insert(number, seat);
        drop(seats);
        Some(Place {
            places: Arc::clone(places),
            number,
            traffic,
            leave,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Frees the place of the connection that has been quiet the longest, if one is quiet.
    fn quietest_leaves(&mut self) -> bool {
        let quiet = self
            .taken
            .iter()
            .filter_map(|(number, seat)| Some((seat.traffic.quiet()?, *number)));
        let Some((_, number)) = quiet.min() else {
            return false;
        };
        if let Some(seat) = self.taken.remove(&number) {
            seat.leave.cancel();
        }
        true
    }
}

impl Place {
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Returns once the place is somebody else's.
    pub(super) async fn given_up(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().taken.remove(&self.number);
        self.places.freed.notify_one();
    }
}

/// What a connection has been doing, seen from its requests.
pub(super) struct Traffic {
    spoke: AtomicBool,
    under_way: AtomicUsize,
    quiet_since: Mutex<Instant>,
}

/// How long to wait on.
pub(super) enum Patience {
    /// Nothing to object to before then.
    Until(Instant),
    /// No request came in the time for the first.
    NeverSpoke,
    /// No request came for long.
    Idle,
}

impl Traffic {
    fn new() -> Self {
        Self {
            spoke: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            quiet_since: Mutex::new(Instant::now()),
        }
    }

    /// Whether it ever sent a request, and since when it is quiet; none with a request under way.
    fn quiet(&self) -> Option<(bool, Instant)> {
        let is_quiet = self.under_way.load(Ordering::Relaxed) == 0;
        is_quiet.then(|| {
            let since = *self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner);
            (self.spoke.load(Ordering::Relaxed), since)
        })
    }

    /// A request begins; it ends when the returned value is dropped, answered or not.
    pub(super) fn begin(traffic: &Arc<Self>) -> UnderWay {
        traffic.spoke.store(true, Ordering::Relaxed);
        traffic.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(traffic))
    }

    pub(super) fn patience(&self, limits: &ConnectionLimits) -> Patience {
        let now = Instant::now();
        let Some((spoke, since)) = self.quiet() else {
            return Patience::Until(now + limits.idle);
        };
        let allowed = if spoke { limits.idle } else { limits.first_request };
        match since + allowed {
            end if end > now => Patience::Until(end),
            _ if spoke => Patience::Idle,
            _ => Patience::NeverSpoke,
        }
    }
}

pub(super) struct UnderWay(Arc<Traffic>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_quiet_goes_and_who_never_spoke_before_it() {
        let places = Arc::new(Places::new(3));
        let spoke_first = Places::take(&places).await;
        drop(Traffic::begin(&spoke_first.traffic));
        tokio::time::advance(core::time::Duration::from_secs(1)).await;
        let silent = Places::take(&places).await;
        let busy = Places::take(&places).await;
        let under_way = Traffic::begin(&busy.traffic);
        let left = |place: &Place| place.leave.is_cancelled();

        let fourth = Places::take(&places).await;
        assert_eq!(
            [left(&spoke_first), left(&silent), left(&busy)],
            [false, true, false]
        );
        // What has left frees nothing a second time.
        drop(silent);
        drop(Traffic::begin(&fourth.traffic));
        let fifth = Places::take(&places).await;
        assert_eq!(
            [left(&spoke_first), left(&fourth), left(&busy)],
            [true, false, false]
        );

        // Where all are busy, the next one waits until a place is free.
        let all_busy = [&fourth, &fifth].map(|place| Traffic::begin(&place.traffic));
        assert!(Places::try_take(&places).is_none());
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { drop(Places::take(&places).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(busy);
        waiting.await.unwrap();
        drop((under_way, all_busy));
    }
}
