//! The API server's face on loopback.
