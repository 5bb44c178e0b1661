use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::error::duration_text;

/// A larger difference counts as a wrong clock. Tokens are valid for at least five minutes.
const TOLERANCE: Duration = Duration::from_secs(4 * 60);

/// The error of this machine's clock, by the answers of a registry.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<Skew>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

impl Clock {
    /// Compares the time of a server with our own.
    pub(super) fn compare(&self, theirs: SystemTime, ours: SystemTime) {
        let skew = match ours.duration_since(theirs) {
            Ok(ahead) => Skew::Ahead(ahead),
            Err(error) => Skew::Behind(error.duration()),
        };
        let (Skew::Ahead(by) | Skew::Behind(by)) = skew;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (by > TOLERANCE).then_some(skew);
    }

    /// Describes the error of our clock, if it is large.
    pub(super) fn problem(&self) -> Option<String> {
        let skew = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(match skew {
            Skew::Ahead(by) => {
                format!("this machine's clock is {} ahead of the registry's", duration_text(by))
            }
            Skew::Behind(by) => {
                format!("this machine's clock is {} behind the registry's", duration_text(by))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_reported() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let hour = Duration::from_secs(3600);
        let clock = Clock::default();
        let problem = |theirs, ours| {
            clock.compare(theirs, ours);
            clock.problem().unwrap_or_default()
        };
        assert_eq!(
            problem(noon, noon + hour),
            "this machine's clock is 1h ahead of the registry's"
        );
        assert_eq!(problem(noon + hour, noon), "this machine's clock is 1h behind the registry's");
        assert_eq!(problem(noon, noon + Duration::from_secs(60)), "");
    }
}
