//! Kubernetes objects as Volwarden reads them.
