"""Generated from rpc/trajlake_service.proto by protoc 25.1 (grpcio-tools 1.62.3).

Code of that protoc runs with every protobuf runtime from 4.25 on: newer
generators bind their output to one or two major versions of the runtime.
"""
