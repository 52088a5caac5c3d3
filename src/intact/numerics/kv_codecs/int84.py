"""Keys of 8 bits and values of 4: for models whose keys lose too much in 4."""

from intact.numerics.kv_codecs.definition import KvCodec

INT84 = KvCodec("int84", "keys of 8 bits, values of 4, rotated", key_bits=8, value_bits=4)
