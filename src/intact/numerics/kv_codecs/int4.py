"""Keys and values with 4 bits and one scale per vector."""

from intact.numerics.kv_codecs.definition import KvCodec

INT4 = KvCodec("int4", "keys and values of 4 bits, rotated", key_bits=4, value_bits=4)
