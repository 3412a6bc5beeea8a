//! Makes the Groth16 parameters of one sector size's PoRep circuit, or a SnarkPack
//! SRS, from the operating system's randomness.
//!
//!     testparams porep SECTOR_SIZE    .params, .vk and .meta
//!     testparams srs PROOFS           .srs for aggregates of up to PROOFS proofs
//!
//! The files go to FIL_PROOFS_PARAMETER_CACHE under the names of the production
//! files. Whoever ran this knew the trapdoor for a moment: proofs made with them
//! convince nobody else, and no network takes them.

use std::env;

use anyhow::{bail, Context, Result};
use filecoin_proofs::{
    constants::DefaultPieceHasher, parameters::public_params, types::PoRepConfig, with_shape,
    SectorShape2KiB, SECTOR_SIZE_2_KIB,
};
use rand::rngs::OsRng;
use storage_proofs_core::{
    api_version::ApiVersion, compound_proof::CompoundProof, merkle::MerkleTreeTrait,
    parameter_cache::CacheableParameters,
};
use storage_proofs_porep::stacked::{PublicParams, StackedCircuit, StackedCompound, StackedDrg};

type Compound<Tree> = StackedCompound<Tree, DefaultPieceHasher>;

/// The circuit depends on the sector size alone: every version of seal proofs shares it.
fn config(sector_size: u64) -> PoRepConfig {
    PoRepConfig::new_groth16(sector_size, [0; 32], ApiVersion::V1_1_0)
}

fn blank<Tree: 'static + MerkleTreeTrait>(
    public: &PublicParams<Tree>,
) -> StackedCircuit<Tree, DefaultPieceHasher> {
    <Compound<Tree> as CompoundProof<
        StackedDrg<Tree, DefaultPieceHasher>,
        StackedCircuit<Tree, DefaultPieceHasher>,
    >>::blank_circuit(public)
}

fn porep<Tree: 'static + MerkleTreeTrait>(sector_size: u64) -> Result<()> {
    let public = public_params::<Tree>(&config(sector_size))?;
    Compound::<Tree>::get_param_metadata(blank::<Tree>(&public), &public)?;
    Compound::<Tree>::get_groth_params(Some(&mut OsRng), blank::<Tree>(&public), &public)?;
    Compound::<Tree>::get_verifying_key(Some(&mut OsRng), blank::<Tree>(&public), &public)?;
    Ok(())
}

fn srs(proofs: usize) -> Result<()> {
    // Every circuit has the same SRS; the smallest one is quickest to describe.
    let public = public_params::<SectorShape2KiB>(&config(SECTOR_SIZE_2_KIB))?;
    let circuit = blank::<SectorShape2KiB>(&public);
    Compound::<SectorShape2KiB>::get_inner_product(Some(&mut OsRng), circuit, &public, proofs)?;
    Ok(())
}

fn main() -> Result<()> {
    fil_logger::init();
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["porep", size] => {
            let size: u64 = size.parse().context("sector size in bytes")?;
            if ![2 << 10, 8 << 20, 512 << 20].contains(&size) {
                bail!("sectors of {size} bytes: test parameters are made for 2 KiB, 8 MiB and 512 MiB");
            }
            with_shape!(size, porep, size)
        }
        ["srs", proofs] => {
            let proofs: usize = proofs.parse().context("number of proofs")?;
            if proofs < 2 || !proofs.is_power_of_two() {
                bail!("{proofs} proofs: an SRS is made for a power of two");
            }
            srs(proofs)
        }
        _ => bail!("usage: testparams porep SECTOR_SIZE | srs PROOFS"),
    }
}
