package configs

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// Config is everything an operator may decide. Tags: key is the name in the file,
// doc the comment above it, example a line shown where the default is empty.
type Config struct {
	Redis     Redis     `key:"redis" doc:"Redis holds all state: 6.2 or newer, maxmemory-policy noeviction, appendonly yes."`
	Chain     Chain     `key:"chain" doc:"The Filecoin node and the messages sent through it."`
	Miners    []Miner   `key:"miners" doc:"Miners sealed for. Sector numbers come from ranges, or are the lowest free ones." example:"[{id: t01000, ranges: [\"1000-1999\"]}]"`
	Policy    Policy    `key:"policy" doc:"What the poller decides by. The defaults are mainnet's."`
	Host      Host      `key:"host" doc:"This machine."`
	Worker    Worker    `key:"worker" doc:"lpseal worker: one per machine, or one per GPU class."`
	Scheduler Scheduler `key:"scheduler" doc:"lpseal scheduler: the poller. Two or more may run."`
	Web       Web       `key:"web" doc:"lpseal web: pages of the pipeline and of the queues."`
	Metrics   Metrics   `key:"metrics" doc:"What a scheduler or worker measures of itself, for Prometheus. The fleet's metrics are at lpseal web's /metrics."`
	Log       Log       `key:"log" doc:"Logs go to stderr."`
	Handover  Handover  `key:"handover" doc:"Who makes the WindowPoSts of stored sectors. A sector is committed once they were declared there. Workers with an io lane need this."`
}

// Redis says where the state is.
type Redis struct {
	URL      string       `key:"url" doc:"redis://, rediss:// (TLS), unix://, redis-sentinel://host:port,…/?master=NAME or redis-cluster://host:port,…"`
	User     string       `key:"user" doc:"ACL user; also accepted inside url."`
	Password Secret       `key:"password" doc:"Better given by LPSEAL_REDIS_PASSWORD_FILE than written here."`
	Sentinel SentinelAuth `key:"sentinel" doc:"How the sentinels themselves are signed in to, where they ask."`
	CA       string       `key:"ca" doc:"PEM file of the authority that signed the server's certificate; empty: the system's."`
}

// SentinelAuth signs in to sentinels.
type SentinelAuth struct {
	User     string `key:"user" doc:"ACL user of the sentinels."`
	Password Secret `key:"password" doc:"Its password."`
}

// Chain says how the node is reached and how messages are paid.
type Chain struct {
	API                 Secret         `key:"api" doc:"TOKEN:ADDRESS of the node, as in FULLNODE_API_INFO, which is read too; else $LOTUS_PATH/{api,token} (~/.lotus)."`
	Network             string         `key:"network" doc:"Name the node's network must have, such as mainnet; empty accepts any."`
	Sender              Sender         `key:"sender" doc:"Who pays for messages."`
	CollateralFromMiner bool           `key:"collateral_from_miner" doc:"Deposit and pledge come from the miner's available balance first."`
	Aggregate           string         `key:"aggregate" doc:"auto: 4 to 819 proofs go as one aggregate where the prover can make it (filcrypto) and the node finds that cheaper; off: never."`
	MaxFeePreCommit     FIL            `key:"max_fee_precommit" doc:"Most gas fee of a pre-commit message, for each sector in it; it waits while the base fee is above that."`
	MaxFeeCommit        FIL            `key:"max_fee_commit" doc:"Most gas fee of a commit message, for each sector in it."`
	MaxFeeMessage       FIL            `key:"max_fee_message" doc:"Most gas fee of any message of several sectors."`
	WaitBaseFee         FIL            `key:"wait_base_fee" doc:"Nothing is sent while a unit of gas costs more and no deadline is within 240 epochs; 0 FIL: no wait."`
	ReplaceAfter        abi.ChainEpoch `key:"replace_after" doc:"Epochs in the mempool after which a message that pays too little is replaced with a higher fee, within the maximum."`
	MaxReplacements     int            `key:"max_replacements" doc:"Replacements of one message without an order (lpseal messages replace)."`
	Confidence          abi.ChainEpoch `key:"confidence" doc:"Epochs after which what the chain says is believed."`
	JournalDir          string         `key:"journal_dir" doc:"Folder for signed messages, written before they are pushed; empty: host.state_dir/messages."`
}

// Sender is the address that sends messages.
type Sender struct {
	Address string `key:"address" doc:"A control address of the miner that no other software sends from; empty: the first funded control address."`
	Shared  bool   `key:"shared" doc:"The key is shared with other software: the node assigns nonces, and lpseal never replaces a message."`
}

// Miner is a miner sealed for.
type Miner struct {
	ID        MinerID `key:"id" doc:"Its ID address."`
	Ranges    []Range `key:"ranges" doc:"Sector numbers that may be used, first-last; empty: any."`
	Synthetic bool    `key:"synthetic" doc:"New sectors get synthetic proofs (seal proofs 10 to 14): layers go before pre-commit, whatever policy.release_layers says. Needs 10.4 GiB a sector of 32 GiB instead."`
}

// Policy is [jobs.Policy] as an operator writes it.
type Policy struct {
	ReleaseLayers  jobs.Release   `key:"release_layers" doc:"When layer files are removed: after_c2 or after_commit."`
	TicketLookback abi.ChainEpoch `key:"ticket_lookback" doc:"The ticket is drawn this many epochs behind the head: chain finality."`
	TicketWindow   abi.ChainEpoch `key:"ticket_window" doc:"Epochs after the ticket's within which a pre-commit must land; the network's constant."`
	TicketMargin   abi.ChainEpoch `key:"ticket_margin" doc:"Epochs of that window kept free for the message to land."`
	TicketFresh    abi.ChainEpoch `key:"ticket_fresh" doc:"A ticket older than this is drawn again while no layer exists."`
	SeedConfidence abi.ChainEpoch `key:"seed_confidence" doc:"Epochs waited after the seed's before it is drawn."`
	MaxRetickets   int            `key:"max_retickets" doc:"New tickets for one sector before it is held."`
	MaxRollbacks   int            `key:"max_rollbacks" doc:"Roll-backs for bad input before a sector is held."`
	BackoffBase    time.Duration  `key:"backoff_base" doc:"Wait after a transient fault; it doubles up to backoff_max."`
	BackoffMax     time.Duration  `key:"backoff_max" doc:"Longest wait after a transient fault."`
	BusyWait       time.Duration  `key:"busy_wait" doc:"Wait between looks at a stage without GPU, space or funds."`
	PreCommits     Batch          `key:"precommit_batch" doc:"When pre-commits of one miner and proof type go out together."`
	Commits        Batch          `key:"commit_batch" doc:"The same for proofs."`
	PackWait       time.Duration  `key:"pack_wait" doc:"How long a market's deal waits for others to fill its sector."`
	PackSlack      abi.ChainEpoch `key:"pack_slack" doc:"A deal that starts within so many epochs waits no longer."`
	Look           time.Duration  `key:"look" doc:"Longest time between two looks at a sector that waits for the chain or a worker."`
}

// Batch is [jobs.BatchPolicy] as an operator writes it.
type Batch struct {
	Max   int           `key:"max" doc:"Sectors in one batch at most: pre-commits up to 256, proofs up to 819 (an aggregate's most). 1 sends each alone. A message is at most 64 KiB in any case."`
	Wait  time.Duration `key:"wait" doc:"How long the first sector that is ready waits for others; 0s sends at once."`
	Slack time.Duration `key:"slack" doc:"A batch goes this long before its nearest deadline, however few are in it."`
}

func (b Batch) jobs() jobs.BatchPolicy {
	return jobs.BatchPolicy{Max: b.Max, Bytes: jobs.MaxBatchBytes, Wait: b.Wait, Slack: b.Slack}
}

// JobsPolicy is the policy in the domain's type.
func (c *Config) JobsPolicy() jobs.Policy {
	p := &c.Policy
	return jobs.Policy{
		TicketLookback: p.TicketLookback, TicketWindow: p.TicketWindow, TicketMargin: p.TicketMargin, TicketFresh: p.TicketFresh,
		SeedConfidence: p.SeedConfidence, MaxRetickets: p.MaxRetickets, MaxRollbacks: p.MaxRollbacks,
		BackoffBase: p.BackoffBase, BackoffMax: p.BackoffMax, BusyWait: p.BusyWait, Look: p.Look, ReleaseLayers: p.ReleaseLayers,
		PreCommits: p.PreCommits.jobs(), Commits: p.Commits.jobs(),
		PackWait: p.PackWait, PackSlack: p.PackSlack, Handover: c.Handover.To,
	}
}

// Host is the machine.
type Host struct {
	ID       string `key:"id" doc:"Its name in queues and pages, [a-z0-9-]{1,40}; empty: the host name. Never give one name to two machines."`
	StateDir string `key:"state_dir" doc:"Folder for work in progress: child processes, locks, messages, and the figures of lpseal bench seal."`
	Memory   Size   `key:"memory" doc:"RAM that stages may take, such as 200GiB; empty: all. A stage that needs more than is left waits."`
	Cores    int    `key:"cores" doc:"Cores that stages may keep busy; 0: all."`
}

// Worker is one worker daemon.
type Worker struct {
	Instance    string        `key:"instance" doc:"Its name on this host, [a-z0-9-]{1,40}."`
	Lanes       []Lane        `key:"lanes" doc:"What it runs at a time. Classes: sdr, cpu, gpu, io. At least one." example:"[{class: sdr, width: 2}, {class: cpu, width: 1}, {class: io, width: 2}, {class: gpu, gpu: rtx4090, device: \"0\", width: 1, prover: filcrypto}]"`
	Provers     StageProvers  `key:"provers" doc:"Stages that another prover makes than the lane's: both kinds write the same files. lpseal bench seal measures them."`
	Paths       []StorePath   `key:"paths" doc:"Storage paths it serves: folders with a sectorstore.json (lpseal storage attach DIR)." example:"[{dir: /data/seal}, {dir: /data/store}]"`
	Drain       time.Duration `key:"drain" doc:"How long a stop (SIGTERM) waits for work in hand. Child processes outlive it: the next start adopts them."`
	Pieces      Pieces        `key:"pieces" doc:"Where the data of sectors is read from."`
	FileService FileService   `key:"file_service" doc:"Hands C1 outputs and stored sectors to other hosts. Requests are signed with secret."`
}

// Lane is a promise to run stages of one class, width at a time.
type Lane struct {
	Class    jobs.Class    `key:"class" doc:"sdr, cpu, gpu or io."`
	GPU      string        `key:"gpu" doc:"GPU class label, for class gpu."`
	Device   string        `key:"device" doc:"GPU as CUDA_VISIBLE_DEVICES names it; empty for the native prover; none: filcrypto proves on the CPU."`
	Width    int           `key:"width" doc:"Stages at a time; 0 is 1."`
	Prover   string        `key:"prover" doc:"auto, native or filcrypto; empty is auto: for each stage the faster one by lpseal bench seal's figures."`
	Threads  int           `key:"threads" doc:"Threads of one stage; 0: all processors."`
	Lockstep int           `key:"lockstep" doc:"Sectors, of the width, whose layers one child makes together on one core; class sdr. 0: as many as the prover makes faster so, 1: each alone."`
	Warm     string        `key:"warm" doc:"Whether a child that made a c2 stays for the next, with the proof parameters loaded; class gpu: auto (where filcrypto makes c2), always or never; empty is auto."`
	WarmIdle time.Duration `key:"warm_idle" doc:"How long it waits for the next; 0s is 10m."`
	Env      []string      `key:"env" doc:"Environment of its proof processes, such as [FIL_PROOFS_USE_MULTICORE_SDR=1]; lpseal doctor names what is not known."`
}

// The choices of a lane's warm.
const (
	WarmAuto   = "auto"
	WarmAlways = "always"
	WarmNever  = "never"
)

// StageProvers name the prover of single stages; empty is the lane's.
type StageProvers struct {
	TreeD  string `key:"tree_d" doc:"auto, native or filcrypto; empty is the lane's."`
	SDR    string `key:"sdr" doc:"The layers; also those that unsealing makes again."`
	TreeRC string `key:"tree_rc" doc:"Trees and replica. Its self-check is c1's."`
	C1     string `key:"c1" doc:"The vanilla proof."`
	C2     string `key:"c2" doc:"The proof that goes on chain: native makes none that a real network takes."`
}

// Of is the prover named for a stage; empty is the lane's.
func (p StageProvers) Of(s jobs.Stage) string {
	return map[jobs.Stage]string{jobs.TreeD: p.TreeD, jobs.SDR: p.SDR, jobs.TreeRC: p.TreeRC, jobs.C1: p.C1, jobs.C2: p.C2}[s]
}

// StorePath is a folder with a sectorstore.json.
type StorePath struct {
	Dir string `key:"dir" doc:"The folder, an absolute path."`
}

// Pieces says where pieces may be read from.
type Pieces struct {
	AllowPrivate bool `key:"allow_private" doc:"Let piece URLs lead to loopback, private and link-local addresses."`
}

// FileService is the worker's HTTP service for sector files.
type FileService struct {
	Listen    string `key:"listen" doc:"Address; port 0 takes a free one. Empty: this host's files stay on this host."`
	Advertise string `key:"advertise" doc:"Base URL by which other hosts reach it; empty: http:// and the listen address."`
	Secret    Secret `key:"secret" doc:"Shared by all hosts, 32 characters or more; LPSEAL_WORKER_FILE_SERVICE_SECRET_FILE names a file with it."`
}

// Scheduler is the poller.
type Scheduler struct {
	Instance string        `key:"instance" doc:"Its name on this host, [a-z0-9-]{1,40}; unlike worker.instance of every worker here."`
	Period   time.Duration `key:"period" doc:"Between two polls, whole seconds. A finished stage is followed at once; this is for what nobody tells us."`
}

// Web is the pages' server.
type Web struct {
	Listen      string `key:"listen" doc:"Address. Anything but loopback needs a token."`
	Token       Secret `key:"token" doc:"Asked for at sign-in, 16 characters or more."`
	AllowWrites bool   `key:"allow_writes" doc:"Lets the pages pause queues and retry, hold or release sectors, and markets post deals."`
}

// Metrics is the listener of one daemon's own metrics.
type Metrics struct {
	Listen string `key:"listen" doc:"Address that serves /metrics and /healthz without a token, such as 127.0.0.1:9645; empty: nothing listens. Daemons that share this file need an address each: set LPSEAL_METRICS_LISTEN."`
}

// Log says what is logged.
type Log struct {
	Level  string `key:"level" doc:"debug, info, warn or error, and part=level pairs: \"info,chain=debug\". GOLOG_LOG_LEVEL is read too."`
	Format string `key:"format" doc:"text, json, color or nocolor. GOLOG_LOG_FMT is read too."`
	File   string `key:"file" doc:"Append to this file instead of stderr. GOLOG_FILE is read too."`
}

// Handover names who proves stored sectors.
type Handover struct {
	To  jobs.HandoverTo `key:"to" doc:"none (attach the storage paths yourself), lotus-miner or curio."`
	API Secret          `key:"api" doc:"TOKEN:ADDRESS with permission admin, as in MINER_API_INFO or CURIO_API_INFO, which are read too. Separated by commas: one lotus-miner for each miner, or the Curio nodes with storage paths."`
}
