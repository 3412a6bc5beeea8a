package jobs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
)

// TaskRef names one delivery of one stage of one sector. Its string is the asynq
// task ID: asynq refuses a second task of an ID for as long as the first is kept
// in any state, so fence, attempt and delivery are all part of it (design rule 2).
type TaskRef struct {
	ID       SectorID `json:"sector"`
	Stage    Stage    `json:"stage"`
	Fence    int      `json:"fence"`
	Attempt  int      `json:"attempt"`
	Delivery int      `json:"delivery"`
}

// String gives the task ID, such as s-t01000-42.c2.f1.a2.d3.
func (t TaskRef) String() string {
	return t.WorkID() + ".d" + strconv.Itoa(t.Delivery)
}

// WorkID names the work itself, which outlives deliveries and claims: a child
// process belongs to it (design rule 7).
func (t TaskRef) WorkID() string {
	return t.ID.String() + "." + string(t.Stage) + ".f" + strconv.Itoa(t.Fence) + ".a" + strconv.Itoa(t.Attempt)
}

var taskID = regexp.MustCompile(`^(s-t0\d+-\d+)\.([a-z0-9_]+)\.f(\d+)\.a(\d+)\.d(\d+)$`)

// ParseTaskRef reads a task ID.
func ParseTaskRef(s string) (TaskRef, error) {
	m := taskID.FindStringSubmatch(s)
	if m == nil {
		return TaskRef{}, fmt.Errorf("%q is not a task ID like s-t01000-42.c2.f1.a2.d3", s)
	}
	id, err := ParseSectorID(m[1])
	if err != nil {
		return TaskRef{}, err
	}
	stage, err := ParseStage(m[2])
	if err != nil {
		return TaskRef{}, err
	}
	var n [3]int
	for i := range n {
		if n[i], err = strconv.Atoi(m[3+i]); err != nil {
			return TaskRef{}, fmt.Errorf("%q is not a task ID: %w", s, err)
		}
	}
	ref := TaskRef{ID: id, Stage: stage, Fence: n[0], Attempt: n[1], Delivery: n[2]}
	if ref.String() != s {
		return TaskRef{}, fmt.Errorf("%q is not a task ID in its one spelling, %s", s, ref)
	}
	return ref, nil
}

// Payload is the task's payload: small, and never a path (the queue is not
// trusted with one).
func (t TaskRef) Payload() []byte {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // plain values always marshal
	}
	return b
}

// ParsePayload reads a payload and checks that it is the one of a task type.
func ParsePayload(taskType string, payload []byte) (TaskRef, error) {
	var t TaskRef
	if err := json.Unmarshal(payload, &t); err != nil {
		return t, fmt.Errorf("payload of %s: %w", taskType, err)
	}
	if RowOf(t.Stage) == nil || t.Stage.TaskType() != taskType {
		return t, fmt.Errorf("payload of %s names stage %q", taskType, t.Stage)
	}
	return t, nil
}
