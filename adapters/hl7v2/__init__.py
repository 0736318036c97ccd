"""HL7 v2 over MLLP, in and out: framing, tokenizer, acknowledgement, inbox, replay, delivery."""
