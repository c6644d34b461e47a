//! The fabric with the real thing: OpenSM and the diagnostic tools on a simulated fabric (ibsim), whose live dumps the
//! program imports. It needs the Debian packages opensm, ibsim-utils, infiniband-diags and python3, no root and no
//! control plane.
//!
//! - [`imports`]: labels equal the design; cut, plugged without a Subnet Manager, swapped, failed over.
//! - [`quality`]: what placement and rank order do to the links, by OpenSM's own forwarding tables.
//! - [`ranks`]: the recipes that number ranks in the order of the fabric.
//!
//! [`plan`] is the fabric on paper, [`lab`] brings it up, [`cluster`] is the Kubernetes side, [`replay`] follows flows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops with the reason; JSON is indexed all over"
)]

mod cluster;
mod imports;
mod lab;
mod plan;
mod quality;
mod ranks;
mod replay;
