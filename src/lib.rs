//! Volwarden keeps a Kubernetes cluster's volume backups moving.
//!
//! ```text
//! watches, reads --Fact--> driver (owns the Engine) --Effect--> reads, metrics, logs, answers
//!                            Engine::step: world -> components -> diagnose -> findings   (pure)
//! ```
//!
//! `domain` is the pure core; `io` translates and bounds time and never decides; `api` holds slim views of
//! other people's objects; `sim` is a cluster to try it all on; `cli` is one file a subcommand. `docs/architecture.md`
//! has the drawing.

#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod driver;
pub mod io;
pub mod sim;
pub mod telemetry;
