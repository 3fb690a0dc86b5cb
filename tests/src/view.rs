//! What a person sees while it happens: events scroll, the state stays at the bottom.
//!
//! On a terminal the state is redrawn in place. Elsewhere (a pipe, a log of a build) each
//! line is printed once, and the state only now and then, so that nothing needs erasing.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Without a terminal, the state is printed at this interval.
const PLAIN_INTERVAL: Duration = Duration::from_secs(1);

/// A place to print to; shared by whoever has something to say.
#[derive(Debug)]
pub struct View {
    start: Instant,
    screen: Mutex<Screen>,
}

#[derive(Debug)]
struct Screen {
    terminal: bool,
    state: Vec<String>,
    drawn: usize,
    printed_at: Option<Instant>,
}

impl Default for View {
    fn default() -> Self {
        View::new()
    }
}

impl View {
    /// Prints to stdout.
    pub fn new() -> View {
        let terminal = std::io::stdout().is_terminal();
        let screen = Screen { terminal, state: Vec::new(), drawn: 0, printed_at: None };
        View { start: Instant::now(), screen: Mutex::new(screen) }
    }

    /// Prints a line that stays, with the seconds since the start before it.
    pub fn say(&self, line: &str) {
        self.say_at(Instant::now(), line);
    }

    /// As `say`, for something that happened at `at`.
    pub fn say_at(&self, at: Instant, line: &str) {
        let mut screen = self.screen();
        screen.erase();
        print_line(&format!("{:7.3}  {line}", (at - self.start).as_secs_f64()));
        screen.draw();
    }

    /// Replaces the state at the bottom.
    pub fn show(&self, state: Vec<String>) {
        let mut screen = self.screen();
        if screen.terminal {
            screen.erase();
            screen.state = state;
            screen.draw();
        } else if screen.printed_at.is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL) {
            screen.printed_at = Some(Instant::now());
            print_line(&format!("{:7.3}  [{}]", self.start.elapsed().as_secs_f64(), state.join(" | ")));
        }
    }

    /// Takes the state away, for the last lines.
    pub fn finish(&self) {
        let mut screen = self.screen();
        screen.erase();
        screen.state.clear();
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Screen {
    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up to the first line of the state, then clear to the end of the screen.
            print(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn draw(&mut self) {
        if self.terminal {
            for line in &self.state {
                print_line(line);
            }
            self.drawn = self.state.len();
        }
    }
}

/// A reader that has gone away (`| head`) is no reason to stop the servers in disorder.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn print_line(line: &str) {
    print(&format!("{line}\n"));
}
