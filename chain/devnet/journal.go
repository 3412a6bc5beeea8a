package devnet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
)

// The journal is a file of JSON lines: the network, then what happened to it. Replaying it makes the same chain again, since
// everything else is computed; time stands still in between. It outlives the process, not a power cut. Proofs are not checked again:
// their verdicts are in it. What was offered for proofs that are still to come is not, and must be offered again.

const journalName = "journal.jsonl"

// entry is one line; one field is set.
type entry struct {
	Network *identity            `json:",omitempty"` // the first line
	Push    *lotus.SignedMessage `json:",omitempty"`
	Dropped bool                 `json:",omitempty"` // the pushed message was lost by order
	Signed  *signing             `json:",omitempty"`
	Verdict *verdict             `json:",omitempty"`
	Line    *line                `json:",omitempty"`
}

// identity is what makes a network the one it is. It must not change while its journal lives.
type identity struct {
	Name     string
	Delay    abi.ChainEpoch
	Secret   string
	Genesis  time.Time
	Accounts []string
	Miners   []Miner
}

// signing is a message that the node signed with its own nonce.
type signing struct {
	Message cid.Cid
	UUID    uuid.UUID
}

// verdict is what became of a proof. Key is proofKey in hex.
type verdict struct {
	Key  string
	Good bool
}

// line is a tipset on the head or, when it begins no higher, a fork that replaces it.
type line struct {
	Tipsets []plan
	Drop    bool `json:",omitempty"` // the messages that the fork reverts are lost
}

// journal appends entries. A nil journal keeps nothing.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

// openJournal reads the directory's journal, or begins one; without a directory there is none. The network's genesis becomes that of
// the journal.
func openJournal(cfg *Config) (*journal, []entry, error) {
	if cfg.Dir == "" {
		return nil, nil, nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	path := filepath.Join(cfg.Dir, journalName)
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	whole := raw[:bytes.LastIndexByte(raw, '\n')+1] // a line that was cut off never happened
	entries, err := readEntries(bytes.NewReader(whole))
	if err != nil {
		return nil, nil, fmt.Errorf("journal %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j := &journal{file: file}
	if err := j.begin(cfg, int64(len(whole)), entries); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), file.Close())
	}
	return j, entries[min(1, len(entries)):], nil
}

func readEntries(r io.Reader) ([]entry, error) {
	var entries []entry
	for lines := bufio.NewReader(r); ; {
		raw, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		var e entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(entries)+1, err)
		}
		entries = append(entries, e)
	}
}

// begin checks that the journal is of this network, or writes its first line.
func (j *journal) begin(cfg *Config, length int64, entries []entry) error {
	if err := j.file.Truncate(length); err != nil {
		return err
	}
	if _, err := j.file.Seek(length, io.SeekStart); err != nil {
		return err
	}
	own := identity{Name: cfg.NetworkName, Delay: cfg.ChallengeDelay, Secret: hex.EncodeToString(cfg.Secret[:]), Genesis: cfg.Genesis.Round(0), Miners: cfg.Miners}
	for _, a := range cfg.Accounts {
		own.Accounts = append(own.Accounts, a.Key.Address().String()+" "+a.Balance.String())
	}
	if len(entries) == 0 {
		return j.write(entry{Network: &own})
	}
	if entries[0].Network == nil {
		return errors.New("the first line names no network")
	}
	cfg.Genesis, own.Genesis = entries[0].Network.Genesis, entries[0].Network.Genesis
	before, err := json.Marshal(entries[0].Network)
	if err != nil {
		return err
	}
	now, err := json.Marshal(own)
	if err != nil {
		return err
	}
	if !bytes.Equal(before, now) {
		return fmt.Errorf("it is of another network: it has %s, the configuration %s; name another directory or remove this one", before, now)
	}
	return nil
}

func (j *journal) write(e entry) error {
	if j == nil {
		return nil
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}

// replay makes happen again what an entry tells.
func (n *Node) replay(ctx context.Context, e entry) error {
	switch {
	case e.Push != nil && e.Dropped:
		n.pool.remember(e.Push)
	case e.Push != nil:
		n.pool.put(e.Push.Message.From, e.Push)
	case e.Signed != nil:
		m, ok := n.pool.message(e.Signed.Message)
		if !ok {
			return fmt.Errorf("message %s was signed but never pushed", e.Signed.Message)
		}
		n.pool.keep(m, e.Signed.UUID)
	case e.Verdict != nil:
		key, err := hex.DecodeString(e.Verdict.Key)
		if err != nil || len(key) != 32 {
			return fmt.Errorf("verdict of proof %q: no digest", e.Verdict.Key)
		}
		n.proofs.checked[[32]byte(key)] = e.Verdict.Good
	case e.Line != nil:
		return n.replayLine(ctx, e.Line)
	default:
		return errors.New("an entry without content")
	}
	return nil
}

func (n *Node) replayLine(ctx context.Context, l *line) error {
	if len(l.Tipsets) == 0 {
		return errors.New("a line without tipsets")
	}
	head, _ := n.chain.at(lotus.EmptyTSK)
	parent, err := n.chain.below(head, l.Tipsets[0].Height-1)
	if err != nil {
		return err
	}
	var made []*tipset
	for i := range l.Tipsets {
		p := &l.Tipsets[i]
		want := p.CID
		for _, c := range p.Messages {
			m, ok := n.pool.message(c)
			if !ok {
				return fmt.Errorf("epoch %d: message %s was never pushed", p.Height, c)
			}
			p.messages = append(p.messages, m)
		}
		p.Messages = nil
		if parent, err = n.produce(ctx, parent, p); err != nil {
			return err
		}
		if want != nil && (p.CID == nil || *want != *p.CID) {
			return fmt.Errorf("epoch %d comes out as another tipset than %s: another version wrote this", p.Height, want)
		}
		made = append(made, parent)
	}
	if made[0].Height <= head.Height {
		n.adopt(made, l)
		return nil
	}
	n.chain.extend(made[0])
	n.pool.remove(made[0].landed)
	return nil
}
