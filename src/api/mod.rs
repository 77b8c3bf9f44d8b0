//! Kubernetes objects as Volwarden reads them.

pub mod foreign;
