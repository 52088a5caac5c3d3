"""Problems with known answers: where they lie, how they are asked, how an answer is read and judged."""
