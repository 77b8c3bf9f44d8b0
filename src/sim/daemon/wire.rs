//! The way of a write to the API server and back: what becomes of it on the way.
//!
//! A request may be late, be refused, never arrive, or arrive and never be answered. The last is what makes
//! repairs hard: whoever sent it cannot tell whether it happened.

use std::time::Duration;

use fastrand::Rng;

use crate::sim::process::draw;
use crate::sim::store::Refusal;

/// How writes fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writing {
    /// They are answered at once.
    #[default]
    Fine,
    /// They arrive late, and are answered later.
    Slow,
    /// They are never answered; some happen.
    Hung,
    /// They are answered with 409, 429, 500 or 503; some of those with 500 happen.
    Failing,
    /// None arrives.
    Away,
}

/// How long a request and its answer take.
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(60));
/// The same when everything is slow.
const SLOWNESS: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(4));

/// A request on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    /// When it reaches the server.
    pub(super) arrives: Duration,
    /// It has an effect there.
    pub(super) happens: bool,
    /// When the sender hears of it, or stops waiting.
    pub(super) answered: Duration,
    /// What it hears then.
    pub(super) reply: Reply,
}

/// What the sender of a request hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// What the server made of it.
    Servers,
    /// This, whatever the server made of it.
    Refusal(Refusal),
    /// Nothing.
    Nothing,
}

impl Flight {
    /// What happens to a request that is sent now, by somebody who waits for so long.
    pub(super) fn send(rng: &mut Rng, weather: Writing, at: Duration, patience: Duration) -> Self {
        let gives_up = at + patience;
        let (way, back) = match weather {
            Writing::Slow => (draw(rng, SLOWNESS.0, SLOWNESS.1), draw(rng, SLOWNESS.0, SLOWNESS.1)),
            _ => (draw(rng, LATENCY.0, LATENCY.1), draw(rng, LATENCY.0, LATENCY.1)),
        };
        let flight = Self { arrives: at + way, happens: true, answered: at + way + back, reply: Reply::Servers };
        match weather {
            Writing::Fine | Writing::Slow => flight.within(gives_up),
            Writing::Hung => {
                let arrives = at + draw(rng, LATENCY.0, patience);
                Self { arrives, happens: rng.bool(), answered: gives_up, reply: Reply::Nothing }
            }
            Writing::Failing => {
                let refusal = refusal(rng);
                let happens = refusal.code == 500 && rng.bool();
                Self { happens, reply: Reply::Refusal(refusal), ..flight }.within(gives_up)
            }
            Writing::Away => Self { happens: false, answered: gives_up, reply: Reply::Nothing, ..flight },
        }
    }

    /// Whoever has given up hears nothing; and what has not arrived by then is dropped with its connection.
    fn within(self, gives_up: Duration) -> Self {
        if self.answered < gives_up {
            return self;
        }
        let happens = self.happens && self.arrives < gives_up;
        Self { happens, answered: gives_up, reply: Reply::Nothing, ..self }
    }
}

fn refusal(rng: &mut Rng) -> Refusal {
    let conflict = "the object has been modified; please apply your changes to the latest version and try again";
    let answers = [
        (409, "Conflict", conflict),
        (429, "TooManyRequests", "the server has received too many requests and has asked us to try again later"),
        (500, "InternalError", "etcdserver: request timed out"),
        (503, "ServiceUnavailable", "the server is currently unable to handle the request"),
    ];
    let (code, reason, words) = answers.get(rng.usize(..answers.len())).copied().unwrap_or((500, "InternalError", ""));
    Refusal::new(code, reason, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn flights(weather: Writing) -> Vec<Flight> {
        let mut rng = Rng::with_seed(1);
        (0..400).map(|_| Flight::send(&mut rng, weather, Duration::ZERO, PATIENCE)).collect()
    }

    #[test]
    fn nothing_arrives_after_its_sender_has_given_up() {
        for weather in [Writing::Fine, Writing::Slow, Writing::Hung, Writing::Failing, Writing::Away] {
            for flight in flights(weather) {
                assert!(flight.answered <= PATIENCE && (!flight.happens || flight.arrives <= PATIENCE), "{flight:?}");
            }
        }
    }

    #[test]
    fn each_weather_does_what_it_says() {
        assert!(flights(Writing::Fine).iter().all(|flight| flight.happens && flight.reply == Reply::Servers));
        assert!(flights(Writing::Away).iter().all(|flight| !flight.happens && flight.reply == Reply::Nothing));
        let hung = flights(Writing::Hung);
        assert!(hung.iter().all(|flight| flight.reply == Reply::Nothing));
        assert!(hung.iter().any(|flight| flight.happens) && hung.iter().any(|flight| !flight.happens));
        let failing = flights(Writing::Failing);
        let code =
            |flight: &Flight| if let Reply::Refusal(refusal) = &flight.reply { Some(refusal.code) } else { None };
        let codes: std::collections::BTreeSet<u16> = failing.iter().filter_map(code).collect();
        assert_eq!(codes.into_iter().collect::<Vec<_>>(), [409, 429, 500, 503]);
        assert!(failing.iter().any(|flight| flight.happens));
        let slow = flights(Writing::Slow);
        assert!(slow.iter().any(|flight| flight.happens && flight.reply == Reply::Nothing), "done, and not heard of");
    }
}
