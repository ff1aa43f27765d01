//! Options that every command has.

use crate::db::{Collection, CollectionOptions, Database};
use crate::encode::CrossEncoder;
use crate::error::Result;
use crate::model::{DEFAULT_ENCODER, Device, Models, Precision};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Global {
    /// Folder of the database
    #[arg(long, global = true, env = "VDB_DB", default_value = ".vdb", value_name = "DIR")]
    pub(super) db: PathBuf,
    /// Collection in the database
    #[arg(long, global = true, default_value = "default", value_name = "NAME")]
    pub(super) collection: String,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// No progress and no remarks; errors are still told
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// Never use the network
    #[arg(long, global = true, env = "VDB_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) offline: bool,
    /// Where models run: auto, cpu or cuda
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub(super) device: Device,
    /// Threads for encoding [default: all processors]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Bits of the encoder: int8 or fp32 [default: int8 on a CPU, fp32 on a graphics card]
    #[arg(long, global = true, value_name = "PRECISION")]
    pub(super) precision: Option<Precision>,
}

impl Global {
    pub(super) fn models(&self) -> Result<Models> {
        Ok(Models::from_env()?
            .device(self.device)
            .precision(self.precision)
            .threads(self.threads.map(usize::from))
            .offline(self.offline))
    }

    /// The cross-encoder that was asked for, loaded.
    pub(super) fn reranker(&self, name: Option<&str>) -> Result<Option<CrossEncoder>> {
        name.map(|name| self.models()?.reranker(name)).transpose()
    }

    /// The database, which must be there.
    pub(super) fn database(&self) -> Result<Database> {
        Database::open_existing(&self.db)
    }

    /// The database to look into, beside whoever may be writing.
    pub(super) fn database_to_look(&self) -> Result<Database> {
        Database::open_to_look(&self.db)
    }

    /// The collection, which must be there, without an encoder.
    pub(super) fn plain_collection(&self) -> Result<Collection> {
        self.database()?.existing_collection(&self.collection, &CollectionOptions::default())
    }

    /// The same to look into.
    pub(super) fn plain_collection_to_look(&self) -> Result<Collection> {
        self.database_to_look()?
            .existing_collection(&self.collection, &CollectionOptions::default())
    }

    /// The collection, which must be there, with the encoder that made its vectors. The encoder is
    /// loaded when it is first needed.
    pub(super) fn collection(&self) -> Result<Collection> {
        let database = self.database_to_look()?;
        let options = match self.stored(&database)? {
            Some(stored) => match stored.fingerprint {
                Some(fingerprint) => {
                    CollectionOptions::encoder(self.models()?.encoder_of(&fingerprint)?)
                }
                None => CollectionOptions::default(),
            },
            None => CollectionOptions::default(),
        };
        database.existing_collection(&self.collection, &options)
    }

    /// Options for a collection that may be new: with the encoder that is named, else that of the
    /// collection, else the default one.
    pub(super) fn writable(
        &self,
        database: &Database,
        model: Option<&str>,
    ) -> Result<CollectionOptions> {
        let models = self.models()?;
        let stored = self.stored(database)?;
        let encoder = match (model, stored) {
            (Some(name), _) => models.encoder(name)?,
            (None, Some(stored)) => match &stored.fingerprint {
                Some(fingerprint) => models.encoder_of(fingerprint)?,
                None => return Ok(CollectionOptions::default()),
            },
            (None, None) => models.encoder(DEFAULT_ENCODER)?,
        };
        Ok(CollectionOptions::encoder(encoder))
    }

    fn stored(&self, database: &Database) -> Result<Option<crate::db::CollectionInfo>> {
        Ok(database.collections()?.into_iter().find(|c| c.name == self.collection))
    }
}
