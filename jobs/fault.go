package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// FaultClass says what kind of remedy a sealing error needs; the poller's table
// of remedies is [remedy]. The classes are the ones operators told apart the hard
// way: a missing GPU must not burn a sector's attempts, and a missing deposit must
// not recompute a proof.
type FaultClass string

// The fault classes, each with what the poller does about it.
const (
	Transient FaultClass = "transient" // same stage again with back-off; unlimited, visible
	Busy      FaultClass = "busy"      // wait until the worker is fit; no attempt spent
	Funds     FaultClass = "funds"     // wait for money or base fee; never recompute
	Input     FaultClass = "input"     // roll back to the stage that makes the input
	Data      FaultClass = "data"      // hold: a piece is not what its CID says
	Deadline  FaultClass = "deadline"  // new ticket once, else hold
	Rejected  FaultClass = "rejected"  // hold: no retry can mend it
	Bug       FaultClass = "bug"       // hold with the stack
)

// FaultClasses lists every class, for tables and tests.
var FaultClasses = []FaultClass{Transient, Busy, Funds, Input, Data, Deadline, Rejected, Bug}

// Remedy says what the poller does about a class (design §5).
func (c FaultClass) Remedy() string {
	switch c {
	case Transient:
		return "the same stage again with back-off, without limit"
	case Busy:
		return "the same stage again when the worker is fit; no attempt is spent"
	case Funds:
		return "waits for money or the base fee; nothing is computed again"
	case Input:
		return "back to the stage that makes the input; held after too many roll-backs"
	case Data:
		return "held: a piece is not what its CID says"
	case Deadline:
		return "a new ticket while nothing is on chain, once; else held"
	case Rejected:
		return "held: no retry can mend it"
	default:
		return "held, with the stack"
	}
}

// Fault is a sealing error: it is written on the sector and never returned to the
// queue (design rule 1).
type Fault struct {
	Class FaultClass `json:"class"`
	Text  string     `json:"text"`
	// From is the stage to redo for an Input fault; empty means the stage's own
	// entry in the table.
	From Stage `json:"from,omitempty"`
	// Missing says that the input is not where the record says, but may lie
	// elsewhere: recover_locate looks for it before anything is made again.
	Missing bool `json:"missing,omitempty"`
	// Attempt and At are filled in by [Apply].
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
}

func (f *Fault) Error() string { return string(f.Class) + ": " + f.Text }

// Failf makes a fault of a class. The text is for the operator: what happened, to
// what, and what can be done.
func Failf(class FaultClass, format string, args ...any) *Fault {
	return &Fault{Class: class, Text: TextOf(fmt.Errorf(format, args...))}
}

// TextOf is an error's text without the class of the fault in it, which is for the poller.
func TextOf(err error) string {
	var f *Fault
	if !errors.As(err, &f) {
		return err.Error()
	}
	return strings.Replace(err.Error(), f.Error(), f.Text, 1)
}

// Classify turns any error of a stage into a fault. Cancellation is not one: it
// is the queue's affair (lost lease, shutdown), so ok is false. An error nobody
// classified is a bug: repeating hours of work on it would hide it.
func Classify(ctx context.Context, err error) (f *Fault, ok bool) {
	if errors.As(err, &f) {
		c := *f
		c.Text = TextOf(err)
		return &c, true
	}
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return nil, false
	}
	return Failf(Bug, "unclassified error: %w", err), true
}
