//! Mistakes that the simulator must notice: each takes one rule away that the argument of `core` rests on.
//!
//! A simulator that finds nothing proves nothing until it is seen to find something. Outside of tests no mistake can
//! be planted, and the questions about them are constants.

/// A rule left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// Votes count whatever their Sentinels named a moment before.
    NoAge,
    /// The age of a vote need not exceed the lease by the margin.
    NoMargin,
    /// The lease is counted from the answers.
    LeaseFromAnswer,
    /// Only taking asks for the age of votes, going on does not.
    NoAgeOnRenewal,
    /// The release is told before the address is off, and the round that was under way goes on to count.
    EarlyRelease,
}

/// Which mistake is planted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Planted(#[cfg(test)] pub(super) Option<Mistake>);

impl Planted {
    /// Whether this rule is left out.
    pub(super) fn is(self, mistake: Mistake) -> bool {
        #[cfg(test)]
        let planted = self.0 == Some(mistake);
        #[cfg(not(test))]
        let planted = {
            let _ = mistake;
            false
        };
        planted
    }
}
