package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) piecesCmd() *cobra.Command {
	return group("pieces", "Find clients' data", a.findPieceCmd())
}

func (a *app) findPieceCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "find PIECE_CID",
		Short: "Say where a piece lies: sector, offset, length and storage path",
		Long: `Say where a piece lies: sector, offset and length (in padded bytes, as in the unsealed file, and in
raw bytes, as lpseal sectors unseal counts them), storage path, and whether an unsealed copy is kept.`,
		Args: args("PIECE_CID"),
		RunE: func(cmd *cobra.Command, given []string) error {
			piece, _, err := jobs.ParsePieceCID(given[0])
			if err != nil {
				return usage("lpseal sectors show prints the CIDs of a sector's pieces", "%w", err)
			}
			c, err := a.join(cmd.Context())
			if err != nil {
				return err
			}
			defer c.close()
			records, err := c.store.Holding(cmd.Context(), piece)
			if err != nil && (len(records) == 0 || !errors.As(err, new(*sectors.UnreadableError))) {
				return err
			}
			places := []jobs.PiecePlace{}
			for _, r := range records {
				places = append(places, jobs.PlacesOf(r, piece)...)
			}
			if len(places) == 0 {
				return notFound("", "no sector has piece %s", piece)
			}
			return a.emit(places, func(w io.Writer) error { return printPlaces(w, places) })
		},
	})
}

func printPlaces(w io.Writer, places []jobs.PiecePlace) error {
	return table(w, "SECTOR\tPIECE\tOFFSET\tSIZE\tRAW OFFSET\tRAW SIZE\tSTORED\tUNSEALED\tSTATE", func(row func(string, ...any)) {
		for _, p := range places {
			state, unsealed := "sealing", "no"
			switch {
			case p.Removed:
				state = "removed"
			case p.Committed:
				state = "committed"
			}
			if p.Unsealed {
				unsealed = "kept"
			}
			row("%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s", p.Sector, p.Piece, p.Offset, p.Size, p.RawOffset, p.RawSize, or(p.Stored, "-"), unsealed, state)
		}
	})
}

// claimsText is what a piece claims of the chain, for people.
func claimsText(p jobs.Piece) (s string) {
	if p.Allocation != nil {
		s += ", allocation " + p.Allocation.String()
	}
	for _, n := range p.Notify {
		if id, ok := n.Deal(); ok {
			s += fmt.Sprintf(", deal %d", id)
		} else {
			s += ", notifies " + n.Address.String()
		}
	}
	return s
}
