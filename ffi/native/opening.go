package native

import (
	"encoding/json"
	"errors"
)

// opening is a Merkle path: through a base tree, then a row at a time through what is
// above it.
type opening struct {
	Root, Leaf node
	Paths      [][]step
}

// steps are the rows of the path, from the leaf up.
func (o *opening) steps() []*step {
	var rows []*step
	for _, path := range o.Paths {
		for i := range path {
			rows = append(rows, &path[i])
		}
	}
	return rows
}

// step is one row of a path: the siblings, and the place among them.
type step struct {
	Hashes []node `json:"hashes"`
	Index  int    `json:"index"`
}

// openingJSON is an opening as rust-fil-proofs writes it: of exactly one kind, by how
// many trees it goes through.
type openingJSON struct {
	Data struct {
		Single *singlePath `json:"Single,omitempty"`
		Sub    *subPath    `json:"Sub,omitempty"`
		Top    *topPath    `json:"Top,omitempty"`
	} `json:"data"`
}

type steps struct {
	Path []step `json:"path"`
}

type singlePath struct {
	Root node  `json:"root"`
	Leaf node  `json:"leaf"`
	Base steps `json:"path"`
}

type subPath struct {
	Base steps `json:"base_proof"`
	Sub  steps `json:"sub_proof"`
	Root node  `json:"root"`
	Leaf node  `json:"leaf"`
}

type topPath struct {
	Base steps `json:"base_proof"`
	Sub  steps `json:"sub_proof"`
	Top  steps `json:"top_proof"`
	Root node  `json:"root"`
	Leaf node  `json:"leaf"`
}

// MarshalJSON writes the kind that has as many paths.
func (o opening) MarshalJSON() ([]byte, error) {
	var j openingJSON
	switch p := o.Paths; len(p) {
	case 1:
		j.Data.Single = &singlePath{o.Root, o.Leaf, steps{p[0]}}
	case 2:
		j.Data.Sub = &subPath{steps{p[0]}, steps{p[1]}, o.Root, o.Leaf}
	case 3:
		j.Data.Top = &topPath{steps{p[0]}, steps{p[1]}, steps{p[2]}, o.Root, o.Leaf}
	default:
		return nil, errors.New("a Merkle path goes through one to three trees")
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads whichever kind is there. That there is nothing else, the
// comparison of encodings shows.
func (o *opening) UnmarshalJSON(b []byte) error {
	var j openingJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	switch d := j.Data; {
	case d.Single != nil:
		*o = opening{d.Single.Root, d.Single.Leaf, [][]step{d.Single.Base.Path}}
	case d.Sub != nil:
		*o = opening{d.Sub.Root, d.Sub.Leaf, [][]step{d.Sub.Base.Path, d.Sub.Sub.Path}}
	case d.Top != nil:
		*o = opening{d.Top.Root, d.Top.Leaf, [][]step{d.Top.Base.Path, d.Top.Sub.Path, d.Top.Top.Path}}
	default:
		return errors.New("a Merkle path of no known kind")
	}
	return nil
}
