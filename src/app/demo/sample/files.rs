//! The demo's repository, file by file. Written by `tests/kopia/make-demo-repository`: what is changed here is lost.

/// The day on which it was made, by its own clock.
pub(super) const MADE: &str = "2026-11-29";
/// Its password. It protects nothing: it stands here.
pub(super) const PASSWORD: &str = "volwarden-demo";

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../../assets/demo-repository/", $name)).as_slice())
    };
}

/// Names and contents.
pub(super) const FILES: [(&str, &[u8]); 25] = [
    file!(".shards"),
    file!("kopia.blobcfg.f"),
    file!("kopia.maintenance.f"),
    file!("kopia.repository.f"),
    file!("p52799b4c782a377f1de5ea414c93524d-sf74fc85521559dba147.f"),
    file!("q474d62bc3aa163b3ea5ebe7f09c15d78-sf74fc85521559dba147.f"),
    file!("xn0_196536e4bef3809deb7426dc9e32cc0b-s0386ce9ac045b6c6147-c1.f"),
    file!("xn0_1ec362954813c95b11b2c888c077197f-s6a245038717491bf147-c1.f"),
    file!("xn0_250306d1a1610c8dafa54f0066afc3b3-s911a06376fa5046c147-c1.f"),
    file!("xn0_269da0c27b069d6bcdd4f26ea5d3da89-sa6326ffdf4aac83a147-c1.f"),
    file!("xn0_2ba621860efa9296e1aebb5385c97419-sb16f12535f577b6a147-c1.f"),
    file!("xn0_3da2341fd95f1c283ad00fc9261ee153-s9f44bcbcbbf601c7147-c1.f"),
    file!("xn0_475f8f40860b1050798ccd0c1e5c68df-s8cfe89b31618e94a147-c1.f"),
    file!("xn0_59132cdc23cab75e77ab4000dc2bcb4c-sca390bd8a6096c5d147-c1.f"),
    file!("xn0_7a6b9560facc6a33f738b80ca1729930-s52f6762b5bc79ded147-c1.f"),
    file!("xn0_7bb93bd77cf4bebd8d2e5790091c9eb5-sf74fc85521559dba147-c1.f"),
    file!("xn0_835b5965c882ca33a18389c2838c6b57-s02241f5d9889ef17147-c1.f"),
    file!("xn0_84a500fd8ea738e7456478d027220f8f-s874666e7a97d027d147-c1.f"),
    file!("xn0_99283179c52768a62458ffea60c2b779-s7e762920c5398583147-c1.f"),
    file!("xn0_ad6379a497f56432d98b16ab624edfde-s2973a2e0820c2bc0147-c1.f"),
    file!("xn0_b05e1f692426c64a68099888a04a5b43-s5c2e5f846f07cf08147-c1.f"),
    file!("xn0_d79dd54477f437e40e9be8174c892e61-s64ea97600182b5e8147-c1.f"),
    file!("xn0_e2712379165e327c91c0c09320e90c42-scbbc744274f78543147-c1.f"),
    file!("xn0_f39de519b10f1341694f1e32358e60c2-sa74d561457068e48147-c1.f"),
    file!("xw1795975640.f"),
];
