//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends the process.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::AppError;

/// After this the process ends, whatever still runs: the pod's grace period is not ours to use up.
pub(super) const SHUTDOWN: Duration = Duration::from_millis(4500);

/// Turns true at the first SIGTERM or SIGINT. A second one, or a shutdown that takes too long, ends the
/// process at once. Signals have a thread of their own, so that a stuck engine cannot swallow them.
///
/// # Errors
/// When the operating system refuses the thread or the handlers.
pub fn stop_signal() -> Result<watch::Receiver<bool>, AppError> {
    let (stop, stopped) = watch::channel(false);
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("signals".to_owned()).stack_size(256 * 1024).spawn(move || {
        let watching = Builder::new_current_thread().enable_all().build().map(|runtime| {
            runtime.block_on(async {
                let mut handlers = match handlers() {
                    Ok(handlers) => handlers,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                drop(ready.send(Ok(())));
                handlers.next().await;
                stop.send_replace(true);
                let code = tokio::time::timeout(SHUTDOWN, handlers.next()).await.unwrap_or(1);
                end_process(code);
            });
        });
        // Without a runtime `ready` is dropped, and the starting thread learns it from that.
        drop(watching);
    })?;
    match is_ready.recv() {
        Ok(answer) => answer?,
        Err(_) => return Err(AppError::System(std::io::Error::other("no event queue for signals"))),
    }
    Ok(stopped)
}

struct Handlers {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

fn handlers() -> std::io::Result<Handlers> {
    Ok(Handlers { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
}

impl Handlers {
    /// Waits for the next one and gives the exit code that shells show for it.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => 128 + 15,
            _ = self.interrupt.recv() => 128 + 2,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the second signal aborts, and an orderly end has had its time")]
fn end_process(code: i32) -> ! {
    std::process::exit(code)
}
