//! Rates out of running totals, as INFO's `instantaneous_…` fields show them.

/// Rates are averages over this many samples, as in Redis.
const SAMPLES: usize = 16;

/// Turns `N` running totals into rates a second.
#[derive(Debug)]
pub struct RateMeter<const N: usize> {
    last: Option<(u64, [u64; N])>,
    samples: [[f64; SAMPLES]; N],
    next: usize,
}

impl<const N: usize> Default for RateMeter<N> {
    fn default() -> Self {
        RateMeter { last: None, samples: [[0.0; SAMPLES]; N], next: 0 }
    }
}

impl<const N: usize> RateMeter<N> {
    /// Takes a sample at `now_ms` of a monotonic clock.
    pub fn sample(&mut self, totals: [u64; N], now_ms: u64) {
        if let Some((then_ms, before)) = self.last {
            let ms = now_ms.saturating_sub(then_ms).max(1) as f64;
            for (i, total) in totals.iter().enumerate() {
                self.samples[i][self.next] = total.saturating_sub(before[i]) as f64 * 1000.0 / ms;
            }
            self.next = (self.next + 1) % SAMPLES;
        }
        self.last = Some((now_ms, totals));
    }

    /// The rate of total number `i`, averaged over the last samples.
    pub fn mean(&self, i: usize) -> f64 {
        self.samples[i].iter().sum::<f64>() / SAMPLES as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_total_has_its_rate_once_all_samples_are_taken() {
        let mut meter = RateMeter::<2>::default();
        for n in 0..=SAMPLES as u64 {
            meter.sample([n * 10, 7], n * 100);
        }
        assert_eq!((meter.mean(0), meter.mean(1)), (100.0, 0.0));
    }
}
